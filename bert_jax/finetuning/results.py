"""The results of fine-tuning: the scores of a task's seeds, and the table of GLUE's tasks."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.console
import rich.table
from etils import epath

from bert_jax.config import Config
from bert_jax.config.console import plural, say
from bert_jax.config.files import write_atomically
from bert_jax.data.labelled.glue_tasks import glue_average
from bert_jax.finetuning import class_report
from bert_jax.finetuning.baseline import Baseline, advice
from bert_jax.finetuning.task_data import Processor
from bert_jax.training.early_stopping import rank
from bert_jax.training.end_report import command

WNLI_POLICY = (
    'The average is over the tasks in the table without WNLI, whose dev set contradicts its '
    'training set (Devlin et al., 2019, section 4.1).'
)
Scores = list[dict[str, float]]  # one dict for each seed: name -> score


# Scores that are numbers of entities or of questions.
COUNTS = ('entities', 'predicted_entities', 'ill_formed', 'total')
SHOWN_SEEDS = 5  # more columns do not fit into a terminal


def write(
    workdir: epath.Path, config: Config, processor: Processor, scores: Scores, baseline: Baseline
) -> None:
    """Writes results.json and prints the scores. For several seeds it prints a table with means and
    standard deviations. The scores of each class are those of the best seed. Warns if the score is
    not better than the baseline. config: that of the task's runs, except for their seeds."""
    name, main_score = config.data.task, processor.main_score
    mean, std = _statistics(scores)
    best = max(scores, key=lambda row: rank(main_score, row))
    results: dict[str, Any] = {'task': name, 'main_score': main_score, 'mean': mean, 'std': std}
    results |= {'best_seed': best['seed'], 'seeds': scores}
    results['baseline'] = dataclasses.asdict(baseline)
    folder = workdir / f'seed_{best["seed"]}' if std else workdir
    results |= (report := class_report.read(folder))
    workdir.mkdir(parents=True, exist_ok=True)
    write_atomically(workdir / 'results.json', json.dumps(results, indent=2) + '\n')
    # `score` is often a copy of an official metric.
    shown = [key for key in mean if key != 'score' or baseline.name == 'score']
    if std:
        _print_table(name, shown, scores, mean, std)
    else:
        when = f', at step {best["step"]:.0f}' if 'step' in best else ''
        say(f'\nscores of {name} on the held-out examples{when}')
        for key in shown:
            beside = f'   (baseline: {baseline.value:.4f})' if key == baseline.name else ''
            say(f'  {key:<20} {_shown(key, mean[key])}{beside}')
    if report:
        of_seed = f', seed {best["seed"]}' if std else ''
        say(f'\neach class on the held-out examples{of_seed}')
        say('\n'.join(class_report.lines(report)))
        if class_report.draw(report, workdir):
            say(f'  picture: {workdir / class_report.PICTURE}')
    # Early stopping may have ended the runs before their last step.
    stops = config.train.patience > 0
    ended_early = stops and all(row['step'] < config.num_steps for row in scores)
    if warning := advice(baseline, mean[baseline.name], config.num_steps, ended_early):
        say(f'warning: {warning}')
    say('try next:')
    flags = (f'--checkpoint={shlex.quote(str(folder))}', *processor.example_flags)
    say(command('predict', *flags))


def _print_table(
    name: str, shown: list[str], scores: Scores, mean: Mapping[str, float], std: Mapping[str, float]
) -> None:
    columns = {f'seed {row["seed"]}': row for row in scores[:SHOWN_SEEDS]}
    columns |= {'mean': dict(mean), 'std': dict(std)}
    table = rich.table.Table('', *columns, title=f'{name}, {plural(len(scores), "seed")}')
    for key in shown:
        table.add_row(key, *(_shown(key, column[key]) for column in columns.values()))
    rich.console.Console(stderr=True, width=80).print(table)


def _shown(key: str, value: float) -> str:
    """A score as it is printed: a count without decimals, other scores with four."""
    return f'{value:.0f}' if key in COUNTS and value == int(value) else f'{value:.4f}'


def write_table(workdir: epath.Path, scores: Mapping[str, Scores]) -> None:
    """Writes glue.json and glue.md: each task's mean score over its seeds, and their average."""
    rows: dict[str, dict[str, Any]] = {}
    lines = ['| task | score | std | seeds |', '|---|---|---|---|']
    for name, seed_scores in scores.items():
        mean, std = _statistics(seed_scores)
        score, deviation, seeds = mean['score'], std.get('score'), len(seed_scores)
        rows[name] = {'score': score, 'std': deviation, 'seeds': seeds}
        shown = '' if deviation is None else f'{deviation:.4f}'
        lines.append(f'| {name} | {score:.4f} | {shown} | {seeds} |')
    average = glue_average({name: row['score'] for name, row in rows.items()})
    lines += [f'| average | {average:.4f} | | |', '', WNLI_POLICY]
    results = {'tasks': rows, 'average': average, 'policy': WNLI_POLICY}
    write_atomically(workdir / 'glue.json', json.dumps(results, indent=2) + '\n')
    write_atomically(workdir / 'glue.md', '\n'.join(lines) + '\n')
    say('\n'.join(lines))


def _statistics(scores: Scores) -> tuple[dict[str, float], dict[str, float]]:
    """Means and sample deviations of the scores that all seeds have; one seed has no deviations.

    A seed does not have the score of an entity type that is neither in the data nor predicted.
    """
    unwanted = ('seed', 'step', 'task_loss')  # task_loss is the same as `loss`
    shown = [key for key in scores[0] if key not in unwanted and all(key in row for row in scores)]
    values = {key: [row[key] for row in scores] for key in shown}
    std = {key: float(np.std(v, ddof=1)) for key, v in values.items() if len(scores) > 1}
    return {key: float(np.mean(v)) for key, v in values.items()}, std
