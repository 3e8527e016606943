"""The progress of a run: one live line in a terminal, plain lines in a file."""

import re
import sys
import textwrap

import pytest
import terminal

from bert_jax.training import progress as progress_module
from bert_jax.training.progress import Progress

TRAIN = {'loss': 2.5, 'mlm_loss': 2.0, 'mlm_accuracy': 0.25, 'nsp_loss': 0.5, 'nsp_accuracy': 0.75}
RUN = textwrap.dedent("""
    import logging, sys, time
    from bert_jax.config.console import StderrHandler
    from bert_jax.training.progress import Progress
    options = {'level': logging.INFO, 'format': '%(message)s', 'force': True}
    logging.basicConfig(handlers=[StderrHandler()], **options)
    losses = {'loss': 2.5, 'mlm_loss': 2.0, 'nsp_loss': 0.5}
    means = losses | {'mlm_accuracy': 0.25, 'nsp_accuracy': 0.75}
    progress = Progress(0, 20)
    for step in range(1, 21):
        progress.state('training', '8 x 16 tokens')
        time.sleep(0.4 if step in (1, 5) else 0.02)
        progress.step(step, lambda: means)
        if step % 10 == 0:
            progress.report(step, 'train', means | {'tokens_per_second': 1234567.0})
            progress.state('evaluating')
            time.sleep(0.3)
            progress.report(step, 'eval', means)
            progress.note(f'step {step}: [a] note')
            logging.info('said meanwhile')
            progress.state('saving')
            time.sleep(0.3)
    progress.close()
""")


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture) -> None:
    progress = Progress(90, 200)
    progress._spent['training'], progress._timed = 20.0, 9  # ten steps in twenty seconds
    progress.step(100, lambda: pytest.fail('no numbers are fetched'))
    progress.report(100, 'train', TRAIN | {'tokens_per_second': 12345.6})
    progress.report(100, 'eval', TRAIN | {'mlm_loss': None})
    progress.note('a [note]')
    progress.close()
    train, evaluation, note = capsys.readouterr().err.splitlines()
    assert train.startswith('step 100/200 train: masked tokens 25.0%, loss 2.000; next sentence ')
    assert train.endswith('; 12,346 tokens/s; left 3:20')
    assert ' eval: masked tokens 25.0%, loss nan; ' in evaluation
    assert 'skipped' not in train and note == 'a [note]'


def test_skipped_steps_are_shown_if_there_are_any(capsys: pytest.CaptureFixture) -> None:
    progress = Progress(0, 9)
    for skipped in (0.0, 2.0):
        progress.report(3, 'train', TRAIN | {'skipped_steps': skipped})
    without, with_two = capsys.readouterr().err.splitlines()
    assert 'skipped' not in without and '2 steps skipped' in with_two


def test_only_process_0_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(progress_module.jax, 'process_index', lambda: 1)
    progress = Progress(0, 9)
    progress.step(1, dict)
    progress.report(1, 'eval', TRAIN)
    progress.note('a note')
    progress.close()
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('columns', [80, 120])
def test_one_live_line_in_a_terminal(columns: int) -> None:
    screen = terminal.shown([sys.executable, '-c', RUN], columns)
    lines = terminal.lines(screen)
    assert max(map(len, lines)) <= columns
    evaluation = 'step 10 eval: masked tokens 25.0%, loss 2.000; next sentence 75.0%, loss 0.500'
    assert {evaluation, 'step 10: [a] note', 'said meanwhile'} < set(lines)
    for state in (
        'compiling the training step for 8 x 16 tokens, 0/20',
        'training 4/20',
        'evaluating 10/20',
        'saving 20/20',
    ):
        assert any(line.startswith(f'{state} ━') for line in lines), state
    compiling = [line for line in lines if line.startswith('compiling')]
    assert all(line.endswith('left -:--') for line in compiling)
    numbers = 'loss 2.00  masked tokens 25.0%' + '  next sentence 75.0%' * (columns > 80)
    first = next(line for line in lines if line.startswith('training 4/20'))
    assert numbers in first, 'before the first report'
    last = next(line for line in lines if line.startswith('finished 20/20 ━'))
    assert re.search(r'took 0:0\d$', last) and numbers in last
    assert ('1,234,567 tokens/s' in last) == (columns > 80)
    assert screen.count('\n') < 16  # redrawn in place, not printed again and again


@pytest.mark.parametrize(
    ('seconds', 'text'), [(0, '0:00'), (59.9, '0:59'), (129, '2:09'), (36_129, '10:02:09')]
)
def test_times(seconds: float, text: str) -> None:
    assert progress_module._short(seconds) == text


def test_the_time_left_does_not_include_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress_module.time, 'monotonic', lambda: now)
    progress = Progress(0, 101)
    for step, state, seconds in (
        (1, 'compiling', 50.0),
        (2, 'training', 1.0),
        (3, 'training', 1.0),
        (4, 'training', 1.0),
    ):
        progress.state(state)
        now += seconds
        progress.step(step, dict)
    progress.state('evaluating')
    now += 3.0
    progress.state('training')
    assert progress._left() == 'left 3:14'  # 6 s for 3 steps; 97 steps
