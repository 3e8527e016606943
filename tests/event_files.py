"""Reads TensorBoard's event files."""

import pathlib
from typing import Any

import tensorboardX.event_file_writer
from tensorboardX.proto import event_pb2


def events(folder: pathlib.Path) -> list[Any]:
    """The events of the files in a folder, checked against the format's checksums."""
    found = []
    for path in sorted(folder.glob('events.out.tfevents.*')):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], 'little')
            content = data[at + 12 : at + 12 + length]
            crc = tensorboardX.record_writer.masked_crc32c(content)
            assert crc == int.from_bytes(data[at + 12 + length : at + 16 + length], 'little')
            found.append(event_pb2.Event.FromString(content))
            at += 16 + length
    return found


def scalars(folder: pathlib.Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar."""
    values = [(event, value) for event in events(folder) for value in event.summary.value]
    return [(v.tag, e.step, v.simple_value) for e, v in values if v.HasField('simple_value')]


def starts(folder: pathlib.Path) -> list[int]:
    """The steps from which on TensorBoard hides what was written before."""
    return [event.step for event in events(folder) if event.HasField('session_log')]
