"""metrics.jsonl is complete and valid at every moment."""

import json
import math
import pathlib
import threading
import time

import event_files
import pytest
import small_run
from etils import epath

from bert_jax.training import metrics
from bert_jax.training.metrics import MetricsWriter


def write(workdir: pathlib.Path, start: int, *steps: int) -> None:
    writer = MetricsWriter(workdir, start)
    for step in steps:
        writer.write(step, 'train', {'loss': step / 3})
    writer.close()


def test_full_precision_and_null_for_what_is_not_finite(tmp_path: pathlib.Path) -> None:
    writer = MetricsWriter(tmp_path, 0)
    writer.write(7, 'train', {'loss': 0.1 + 0.2, 'grad_norm': math.nan, 'mfu': None, 'n': 3})
    writer.write(7, 'eval', {'mlm_perplexity': math.inf})
    first, second = (tmp_path / 'metrics.jsonl').read_text().splitlines()  # before it is closed
    writer.close()
    strict = json.JSONDecoder(parse_constant=pytest.fail)
    assert strict.decode(first) == {
        'step': 7,
        'split': 'train',
        'loss': 0.1 + 0.2,
        'grad_norm': None,
        'mfu': None,
        'n': 3,
    }
    assert strict.decode(second) == {'step': 7, 'split': 'eval', 'mlm_perplexity': None}


def test_going_on_leaves_one_line_per_step(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 0, 1, 2, 3, 4)
    write(tmp_path, 2, 3, 4, 5)
    assert [line['step'] for line in small_run.metrics(tmp_path)] == [1, 2, 3, 4, 5]
    write(tmp_path, 0, 1)
    assert [line['step'] for line in small_run.metrics(tmp_path)] == [1]


@pytest.mark.parametrize('rest', ['{"step": 3, "spl', '{"step": 3}', '\0\0\0\0\n', '[1]\n', '3\n'])
def test_what_a_crash_leaves_at_the_end_is_removed(tmp_path: pathlib.Path, rest: str) -> None:
    write(tmp_path, 0, 1, 2)
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write(rest)
    write(tmp_path, 3, 4)
    assert [line['step'] for line in small_run.metrics(tmp_path)] == [1, 2, 4]


def events(folder: pathlib.Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar of training."""
    return event_files.scalars(folder / 'train')


def test_a_flush_saves_what_a_kill_would_lose(tmp_path: pathlib.Path) -> None:
    """The events too: a run that continues from a checkpoint does not write them again."""
    writer = MetricsWriter(tmp_path, 0)
    writer.write(1, 'train', {'mlm_loss': 2.5})
    writer.flush()
    assert events(tmp_path) == [('loss/mlm', 1, 2.5)]
    writer.close()


def test_only_process_0_writes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.jax, 'process_index', lambda: 1)
    write(tmp_path / 'run', 0, 1)
    assert not (tmp_path / 'run').exists()


def test_object_stores(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands for gs://. Nothing that is written may need to append to a file."""

    class Bucket(type(epath.Path('x'))):  # type: ignore[misc]
        def __str__(self) -> str:
            return 'gs://' + super().__str__()

        def open(self, mode: str = 'r', **_: object) -> object:  # type: ignore[override]
            assert 'a' not in mode
            return super().open(mode)

    def path(name: object) -> Bucket:
        return Bucket(tmp_path / str(name).removeprefix('gs://').removeprefix(f'{tmp_path}/'))

    monkeypatch.setattr(metrics.epath, 'Path', path)
    for start, steps in ((0, (1, 2)), (1, (2, 3))):
        writer = MetricsWriter('gs://bucket/run', start)
        for step in steps:
            writer.write(step, 'train', {'loss': step / 2})
        writer.close()
    folder = tmp_path / 'bucket/run'
    assert [line['step'] for line in small_run.metrics(folder)] == [1, 2, 3]
    assert events(folder)[-1] == ('loss/total', 3, 1.5)


def test_an_upload_is_waited_for_and_sent_again_if_it_failed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = [], threading.Event()

    class Bucket(type(epath.Path('x'))):  # type: ignore[misc]
        def write_bytes(self, content: bytes) -> int:
            if content and self.name == 'metrics.jsonl':
                begun.append(content)
                assert go_on.wait(10)
                if len(begun) == 2:
                    raise OSError('503')
            return int(super().write_bytes(content))

    monkeypatch.setattr(metrics.epath, 'Path', lambda _: Bucket(tmp_path))
    writer = MetricsWriter('gs://bucket/run', 0)
    writer.write(1, 'train', {'loss': 2.5})
    while not begun:
        time.sleep(0.01)
    assert not small_run.metrics(tmp_path), 'on its way'
    go_on.set()
    writer.write(2, 'train', {'loss': 1.5})
    assert len(small_run.metrics(tmp_path)) == 1
    writer.flush()
    assert [line['step'] for line in small_run.metrics(tmp_path)] == [1, 2]
    assert events(tmp_path)[-1] == ('loss/total', 2, 1.5)
    writer.close()


def test_the_evaluation_of_an_earlier_end_is_dropped(tmp_path: pathlib.Path) -> None:
    writer = MetricsWriter(tmp_path, 0)
    for split in ('train', 'eval'):
        for step in (1, 2):
            writer.write(step, split, {'loss': 1.0})
    writer.close()
    MetricsWriter(tmp_path, 2, drop_eval=True).close()
    lines = [(line['step'], line['split']) for line in small_run.metrics(tmp_path)]
    assert lines == [(1, 'train'), (2, 'train'), (1, 'eval')]
