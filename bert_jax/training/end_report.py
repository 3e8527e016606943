"""The end of a pretraining run: its accuracies, masked words, curves, and the next commands."""

import contextlib
import dataclasses
import json
import math
import pathlib
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from bert_jax.config import Config
from bert_jax.config.console import WIDTH, plural, say
from bert_jax.config.files import write_atomically
from bert_jax.tasks.measures import BASELINES, MEASURES
from bert_jax.training import curves
from bert_jax.training.examples import BLANK, Examples, Guesses
from bert_jax.training.history import EXAMPLES
from bert_jax.training.progress import Metrics
from bert_jax.training.run_folders import absolute
from bert_jax.training.train_step import Step
from bert_jax.training.workdir import newest_checkpoint


@dataclasses.dataclass
class EndReport:
    """Collects the results of the evaluations of a pretraining run, and prints the last ones.

    baselines: the accuracy of each baseline. examples: None if the objective has no masked words.
    """

    config: Config
    workdir: epath.Path
    baselines: Mapping[str, float]
    examples: Examples | None
    _step: int = 0
    _means: dict[str, Any] = dataclasses.field(default_factory=dict)
    _guesses: list[Guesses] = dataclasses.field(default_factory=list)

    def after_evaluation(
        self, step: Step, steps: int, params: Any, means: Metrics
    ) -> tuple[str, str]:
        """Fills in the masked words; see `training.loop.AfterEvaluation`.

        The line to print shows an example whose first prediction has changed, if there is one.
        """
        self._step, self._means = steps, dict(means)
        if self.examples is None:
            return '', ''
        before, self._guesses = self._guesses, self.examples.guesses(step, params)
        if not self._guesses:
            return '', ''
        if jax.process_index() == 0:
            self._save_guesses()
        now, then = ([guess[0][0] for guess in guesses] for guesses in (self._guesses, before))
        changed = [i for i, word in enumerate(now) if then and word != then[i]]
        i = (changed or [0])[0]
        line = _around_blank(self.examples.lines[i], WIDTH // 2)
        table = '\n'.join(f'    {row}' for row in filled(self.examples, self._guesses))
        return f'step {steps}: {line}  ->  {_first(self._guesses[i])}', table

    def _save_guesses(self) -> None:
        assert self.examples
        rows = zip(self.examples.lines, self.examples.answers, self._guesses, strict=True)
        lines = [{'line': line, 'answer': a, 'guesses': guesses} for line, a, guesses in rows]
        content = {'step': self._step, 'lines': lines}
        write_atomically(self.workdir / EXAMPLES, json.dumps(content, indent=2) + '\n')

    def print(self) -> None:
        """Prints the report; only process 0 does, and nothing if there was no evaluation."""
        if jax.process_index() != 0 or not self._means:
            return
        parts = [
            accuracies(self._means, self.baselines, self._step),
            filled(self.examples, self._guesses) if self.examples else [],
            [f'saved   {self._saved()}', self._curves()],
            ['try next:', *_commands(self.config, self.workdir, self.examples)],
        ]
        say('')
        for part in parts:
            if part:
                say('\n'.join(part) + '\n')

    def _saved(self) -> str:
        """The folder of the last checkpoint, as the user gave the workdir."""
        newest = newest_checkpoint(self.workdir)
        return str(self.workdir / newest.relative_to(absolute(self.workdir)))

    def _curves(self) -> str:
        """Draws the curves; returns the line that says where they are."""
        target = str(self.workdir / 'curves.png')
        try:
            curves.save([str(self.workdir)], target)
        except Exception as error:  # a failed picture must not fail a complete run
            again = command('plot', f'--workdir={shlex.quote(str(self.workdir))}')
            return f'curves  not drawn: {str(error)[:200]}\n{again}'
        return f'curves  {target}'


def accuracies(means: Metrics, baselines: Mapping[str, float], step: int) -> list[str]:
    """The lines of a table of accuracies on held-out text, as bars."""
    rows = {x.method: baselines[name] for name, x in BASELINES.items() if name in baselines}
    lines = list[str]()
    for name, measure in MEASURES.items():
        accuracy = means.get(f'{name}_accuracy')
        if not isinstance(accuracy, float) or math.isnan(accuracy):
            continue
        if not measure.counted:
            chance = f' (chance is {1 / measure.answers:.0%})' if measure.answers else ''
            lines.append(f'{measure.question}: {accuracy:.1%} right{chance}.')
            continue
        rows[f'this model after {plural(step, "step")}'] = accuracy
        width = max(map(len, rows))
        scale = (WIDTH - width - 12) / max(*rows.values(), 0.01)
        lines.append(f'{measure.question} of held-out text that are predicted correctly:')
        for text, value in rows.items():
            lines.append(f'  {text:<{width}}  {value:>5.1%}  {"█" * round(value * scale)}'.rstrip())
    return lines


def filled(examples: Examples, guesses: list[Guesses]) -> list[str]:
    """The lines of a table with the masked words and what the model predicts for them."""
    rows = list(zip(examples.lines, examples.answers, guesses, strict=True))
    width = min(max((len(line) for line, *_ in rows), default=0), WIDTH // 2)
    lines = []
    for title, known in (
        ('The model fills in masked words:', False),
        ('The same for held-out text (* is the word that was masked):', True),
    ):
        chosen = [row for row in rows if bool(row[1]) == known]
        lines += [title] if chosen else []
        for line, answer, guess in chosen:
            words = [f'{word}{"*" * (word == answer)} {p:.2f}' for word, p in guess]
            if known and answer not in dict(guess):
                words.append(f'(* {answer})')
            while len(words) > 1 and width + 2 + sum(len(word) + 2 for word in words) > WIDTH:
                words.pop(len(guess) - 1 if len(words) > len(guess) else -1)
            lines.append(f'  {_around_blank(line, width):<{width}}  {"  ".join(words)}')
    return lines


def _around_blank(line: str, width: int) -> str:
    """The part of a line around the blank, at most `width` characters."""
    if len(line) <= width:
        return line
    size = width - 6
    start = min(max(line.index(BLANK) - size // 2, 0), len(line) - size)
    end = start + size
    return f'{"..." * (start > 0)}{line[start:end]}{"..." * (end < len(line))}'


def _first(guess: Guesses) -> str:
    word, probability = guess[0]
    return f'{word} {probability:.2f}'


def _commands(config: Config, workdir: epath.Path, examples: Examples | None) -> list[str]:
    """Three commands for what a user may do next."""
    folder = shlex.quote(str(workdir))
    text = examples.texts[0] if examples and examples.texts else 'The capital is [MASK].'
    return [
        command('predict', f'--checkpoint={folder}', f'--text={_quoted(text)}'),
        command(
            'train', '--config=tiny', '--workdir=runs/mine', '--config.data.corpus=text:FOLDER'
        ),
        command(
            'train',
            '--config=finetune_text',
            '--workdir=runs/labels',
            f'--config.init_from={folder}',
            '--config.data.train_file=train.csv',
        ),
    ]


def command(name: str, *flags: str) -> str:
    """Returns a command for the shell, with a line break where a line would not fit in a terminal.
    flags: the flags as a user types them."""
    lines = [f'  {program()} {name}']
    for flag in flags:
        if len(lines[-1]) + len(flag) + 3 > WIDTH:
            lines[-1] += ' \\'
            lines.append(f'      {flag}')
        else:
            lines[-1] += f' {flag}'
    return '\n'.join(lines)


def _quoted(text: str) -> str:
    """The text in quotes for a shell."""
    return '"' + text + '"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def program() -> str:
    """Returns the command that runs bert_jax: the script in the folder of this Python, or else
    `python -m`."""
    script = pathlib.Path(sys.executable).with_name('bert_jax')
    return _typed(script) if script.exists() else f'{_typed(sys.executable)} -m bert_jax'


def _typed(path: str | pathlib.Path) -> str:
    """The shortest form of a program's path that works in the current folder."""
    path = pathlib.Path(path)
    if shutil.which(path.name) == str(path):
        return path.name
    with contextlib.suppress(ValueError):
        path = path.relative_to(pathlib.Path.cwd())
    # The shell looks for a name without a folder only in PATH.
    return shlex.quote(str(path) if len(path.parts) > 1 else f'./{path}')
