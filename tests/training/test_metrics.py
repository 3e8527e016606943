"""metrics.jsonl is always whole and valid; a terminal gets one live line, a file plain ones."""

import json
import math
import os
import pathlib
import pty
import re
import subprocess
import sys
import textwrap
import threading
import time

import event_files
import pytest
import small_run
from etils import epath
from small_run import ROOT

from bert_jax.training import metrics
from bert_jax.training.metrics import MetricsWriter, Progress

TRAIN = {'loss': 2.5, 'mlm_loss': 2.0, 'mlm_accuracy': 0.25, 'nsp_loss': 0.5, 'nsp_accuracy': 0.75}


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
    """gs:// played by a folder; what is written must not need to append."""

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


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture) -> None:
    progress = Progress(90, 200)
    progress._begin -= 20  # ten steps in twenty seconds
    progress.step(100)
    progress.report(100, 'train', TRAIN | {'tokens_per_second': 12345.6})
    progress.report(100, 'eval', TRAIN | {'mlm_loss': None})
    progress.close()
    train, evaluation = capsys.readouterr().err.splitlines()
    assert train.startswith('step 100/200 train loss 2.500 mlm_loss 2.000 ')
    assert train.endswith('12,346 tokens/s ETA 0:03:20')
    assert ' mlm_loss nan ' in evaluation
    assert 'skipped' not in train


def test_skipped_steps_are_shown_if_there_are_any(capsys: pytest.CaptureFixture) -> None:
    progress = Progress(0, 9)
    for skipped in (0.0, 2.0):
        progress.report(3, 'train', TRAIN | {'skipped_steps': skipped})
    without, with_two = capsys.readouterr().err.splitlines()
    assert 'skipped' not in without and '2 skipped' in with_two


def test_one_live_line_in_a_terminal() -> None:
    code = textwrap.dedent("""
        import logging, sys, time
        from bert_jax.config.console import StderrHandler
        from bert_jax.training.metrics import Progress
        options = {'level': logging.INFO, 'format': '%(message)s', 'force': True}
        logging.basicConfig(handlers=[StderrHandler()], **options)
        progress = Progress(0, 20)
        for step in range(1, 21):
            progress.step(step)
            metrics = {'loss': 2.5, 'mlm_loss': 2.0, 'nsp_loss': 0.5}
            progress.report(step, 'train', metrics | {'tokens_per_second': 1234567.0})
            if step == 10:
                progress.report(step, 'eval', metrics)
                logging.info('said meanwhile')
            time.sleep(0.05)
        progress.close()
    """)
    screen = in_terminal([sys.executable, '-c', code])
    lines = [re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', line) for line in re.split(r'[\r\n]+', screen)]
    assert 'step 10 eval loss 2.500 mlm_loss 2.000 nsp_loss 0.500' in [s.strip() for s in lines]
    assert 'said meanwhile' in [line.strip() for line in lines]
    live = [line for line in lines if line.startswith('step 20/20')]
    assert live and 'mlm 2.000 nsp 0.500 1,234,567 tokens/s' in live[-1]
    assert re.search(r'\d:\d\d:\d\d', live[-1])  # the ETA
    assert screen.count('\n') < 10  # redrawn in place, not printed again and again


def in_terminal(command: list[str]) -> str:
    """What `command` shows on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = os.environ | {'COLUMNS': '80', 'TERM': 'xterm', 'PYTHONPATH': str(ROOT)}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b''
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait(timeout=60) == 0, shown
    os.close(ours)
    return shown.decode()
