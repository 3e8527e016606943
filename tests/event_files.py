"""Reads TensorBoard's event files."""

import pathlib
from typing import Any

import tensorflow as tf
from tensorboardX.proto import event_pb2


def events(folder: pathlib.Path) -> list[Any]:
    """The events of the files in a folder. TensorFlow checks their checksums."""
    paths = sorted(map(str, folder.glob('events.out.tfevents.*')))
    records = tf.data.TFRecordDataset(paths).as_numpy_iterator()
    return [event_pb2.Event.FromString(record) for record in records]


def scalars(folder: pathlib.Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar."""
    values = [(event, value) for event in events(folder) for value in event.summary.value]
    return [(v.tag, e.step, v.simple_value) for e, v in values if v.HasField('simple_value')]


def starts(folder: pathlib.Path) -> list[int]:
    """The steps from which on TensorBoard hides what was written before."""
    return [event.step for event in events(folder) if event.HasField('session_log')]
