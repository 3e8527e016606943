"""The end of a pretraining run: the table, masked words, curves and commands."""

import json
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
from typing import Any

import event_files
import pytest
import small_run
import terminal
from etils import epath

from bert_jax.config import Config
from bert_jax.training import curves, end_report
from bert_jax.training.end_report import BASELINES, EndReport
from bert_jax.training.examples import Examples

ADJECTIVES = ['green', 'red', 'small', 'large', 'old', 'new']
NOUNS = ['house', 'tree', 'river', 'stone', 'road', 'boat', 'bird', 'fish']
FLAGS: dict[str, Any] = {
    'data__vocab_file': '',
    'data__holdout': 0.2,
    'data__examples': 'the old [MASK] and the new house',
    'model__vocab_size': 100,
    'train__phases': '((12,32,8,4),)',
    'train__eval_every': 4,
    'optim__learning_rate': 0.01,
}


def write_corpus(folder: pathlib.Path) -> None:
    """Writes 80 documents with sentences of whole words."""
    choose = random.Random(0).choice
    lines = [
        ' and '.join(f'the {choose(ADJECTIVES)} {choose(NOUNS)}' for _ in range(2))
        for _ in range(800)
    ]
    documents = ['\n'.join(lines[i : i + 10]) for i in range(0, 800, 10)]
    (folder / 'corpus.txt').write_text('\n\n'.join(documents) + '\n')


@pytest.mark.slow
def test_the_end_of_a_run_on_a_terminal(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    workdir = tmp_path / 'run'
    command = small_run.command(tmp_path, 'run', **FLAGS)
    environment = small_run.environment() | {'COLUMNS': '80', 'TERM': 'xterm'}
    screen = terminal.shown(command, env=environment, cwd=tmp_path)
    lines = terminal.lines(screen)
    ours = [line for line in lines if str(tmp_path) not in line and sys.executable not in line]
    assert not [line for line in ours if len(line) > 80]

    end = '\n'.join(lines)
    end = end[end.index('Masked tokens of held-out text') :]
    meta = json.loads((workdir / 'corpus.json').read_text())
    for name, (_, text, _) in BASELINES.items():
        row = re.search(rf'{re.escape(text)} +([\d.]+)%( +█+)?$', end, re.MULTILINE)
        assert row and float(row[1]) == pytest.approx(100 * meta['baselines'][name], abs=0.06)
    evaluation = [line for line in small_run.metrics(workdir) if line['split'] == 'eval'][-1]
    row = re.search(r'this model after 12 steps +([\d.]+)%', end)
    assert row and float(row[1]) == pytest.approx(100 * evaluation['mlm_accuracy'], abs=0.06)
    assert f'Next sentence or not: {evaluation["nsp_accuracy"]:.1%} right' in end

    examples = json.loads((workdir / 'examples.json').read_text())
    assert examples['step'] == 12 and len(examples['lines']) == 6
    assert examples['lines'][0]['line'] == 'the old ____ and the new house'
    for example in examples['lines']:
        (word, best), *_, (_, worst) = example['guesses']
        assert f'  {example["line"]} ' in end and 1 > best >= worst > 0
        assert re.search(rf'{re.escape(word)}\*? {best:.2f}', end)
        assert example['answer'] in (*ADJECTIVES, *NOUNS, 'the', 'and', '')
    notes = [line for line in lines if re.match(r'step \d+: .*____.*  ->  \S+ 0\.\d\d$', line)]
    assert [note.partition(':')[0] for note in notes] == ['step 4', 'step 8', 'step 12']

    texts = [(e.step, v.tag) for e in event_files.events(workdir) for v in e.summary.value]
    assert [step for step, tag in texts if tag.startswith('examples')] == [4, 8, 12]
    assert (workdir / 'curves.png').read_bytes().startswith(b'\x89PNG')
    assert 'saved   run/checkpoints/12' in end.replace(f'{tmp_path}/', '')
    commands = end[end.index('try next:') :].replace('\\\n', '').split('\n')[1:4]
    monkeypatch.chdir(tmp_path)  # the program is as the run saw it from its folder
    program = shlex.split(end_report.program())
    parsed = [shlex.split(command) for command in commands]
    assert [words[: len(program)] for words in parsed] == [program] * 3
    parsed = [words[len(program) :] for words in parsed]
    assert [words[0] for words in parsed] == ['predict', 'train', 'train']
    assert parsed[0][1:] == ['--checkpoint=run', '--text=the old [MASK] and the new house']


MEANS = {'mlm_accuracy': 0.5, 'nsp_accuracy': 0.75, 'loss': 1.0}


def report(workdir: pathlib.Path, baselines: dict[str, float]) -> EndReport:
    (workdir / 'checkpoints' / '7').mkdir(parents=True)
    return EndReport(Config(), epath.Path(workdir), baselines, None)


def test_a_run_without_examples_baselines_and_matplotlib(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise ValueError("No module named 'matplotlib'; pip install '.[plot]'")

    monkeypatch.setattr(curves, 'save', missing)
    ended = report(tmp_path, {})
    ended.print()
    assert capsys.readouterr().err == '', 'there was no evaluation'
    assert ended.after_evaluation(None, 7, {}, MEANS) == ('', '')  # type: ignore[arg-type]
    ended.print()
    shown = capsys.readouterr().err
    assert 'this model after 7 steps  50.0%  ███' in shown
    assert "not drawn: No module named 'matplotlib'; pip install '.[plot]'\n" in shown
    assert f' plot --workdir={tmp_path}\n' in shown.replace(' \\\n     ', '')


def test_an_objective_without_masked_words(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(curves, 'save', lambda _, output: pathlib.Path(output).write_bytes(b''))
    ended = report(tmp_path, {'frequent': 0.1})
    ended.after_evaluation(None, 7, {}, {'loss': 1.0})  # type: ignore[arg-type]
    ended.print()
    shown = capsys.readouterr().err
    assert 'Masked' not in shown and 'Next sentence' not in shown and 'try next:' in shown
    assert (tmp_path / 'curves.png').exists()


def test_the_bars_are_in_proportion_and_fit() -> None:
    rows = end_report.accuracies(MEANS, {'frequent': 0.0, 'pairs': 0.25, 'triples': 1.0}, 10**6)
    bars = [row.count('█') for row in rows[1:5]]
    assert (
        bars[0] == 0 and bars[3] == pytest.approx(bars[2] / 2, abs=1) and max(map(len, rows)) <= 80
    )
    assert bars[1] == pytest.approx(bars[2] / 4, abs=1)


def test_lines_that_are_long_are_cut_and_the_right_words_marked() -> None:
    lines = ['a ____ b', 'word ' * 12 + '____', 'c ____']
    examples = Examples(lines, lines, ['', 'x', 'y'], {}, {}, 9, str)
    rows = end_report.filled(examples, [[('p', 0.5)], [('x', 0.9), ('y', 0.1)], [('x', 0.8)]])
    assert [row.split()[-2:] for row in (rows[1], rows[4])] == [['p', '0.50'], ['(*', 'y)']]
    assert 'x* 0.90  y 0.10' in rows[3] and '...' in rows[3] and '____' in rows[3]
    assert max(map(len, rows)) <= 80


@pytest.mark.parametrize(
    'text', ["raise [MASK]('bad')", 'a [MASK] "b"', 'it\'s "$1" [MASK]', '[MASK]']
)
def test_texts_are_quoted_for_the_shell(text: str) -> None:
    assert shlex.split(end_report._quoted(text)) == [text]


# (folder in PATH, folder of the user, whether the script is installed) -> the program
PROGRAMS = {
    ('bin', '.', True): 'bert_jax',
    ('', '.', True): "'my venv/bin/bert_jax'",
    ('', 'my venv', True): 'bin/bert_jax',
    ('', 'my venv/bin', True): './bert_jax',
    ('', 'elsewhere', True): "'{}/my venv/bin/bert_jax'",
    ('bin', '.', False): 'python -m bert_jax',
    ('', '.', False): "'my venv/bin/python' -m bert_jax",
    ('', 'my venv/bin', False): './python -m bert_jax',
    ('', 'elsewhere', False): "'{}/my venv/bin/python' -m bert_jax",
}


@pytest.mark.parametrize('case', PROGRAMS)
def test_commands_are_as_a_user_types_them(
    case: tuple[str, str, bool], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each printed command works in a shell: here `python` and `bert_jax` print what they read."""
    path, folder, is_installed = case
    programs = tmp_path / 'my venv/bin'
    programs.mkdir(parents=True)
    (tmp_path / 'elsewhere').mkdir()
    for name in ('python', 'bert_jax')[: 1 + is_installed]:
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        os.chmod(programs / name, 0o755)
    monkeypatch.setattr(sys, 'executable', str(programs / 'python'))
    monkeypatch.chdir(tmp_path / folder)
    monkeypatch.setenv('PATH', str(programs) if path else '')
    assert end_report.program() == PROGRAMS[case].format(tmp_path)
    command = end_report.command('predict', '--checkpoint=DIR', f'--text={"a " * 40}'.strip())
    said = subprocess.run(['/bin/sh', '-c', command], capture_output=True, text=True, check=True)
    module = [] if is_installed else ['python', '-m']
    words = shlex.split(said.stdout)
    assert words[: len(module) + 3] == [*module, 'bert_jax', 'predict', '--checkpoint=DIR']
