"""What a fine-tuning run ends with: the scores of its seeds, and GLUE's table of its tasks."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.console
import rich.table
from etils import epath

from bert_jax.data.labelled.glue_tasks import glue_average
from bert_jax.training.metrics import say
from bert_jax.training.workdir import write as write_whole

WNLI_POLICY = (
    'The average is over the tasks in the table, WNLI left out: its dev set contradicts its '
    'training set (Devlin et al., 2019, section 4.1).'
)


def write(workdir: epath.Path, name: str, main: str, scores: list[dict[str, float]]) -> None:
    """results.json, and a table for whoever watches: of the scores that all seeds have, as not all
    predict an entity of each type. One seed has no deviation."""
    shown = [key for key in scores[0] if all(key in row for row in scores)]
    # The one loss there is stands in a row of its own already.
    shown = [key for key in shown if key not in ('seed', 'step', 'task_loss')]
    values = {key: [row[key] for row in scores] for key in shown}
    several = len(scores) > 1
    mean = {key: float(np.mean(found)) for key, found in values.items()}
    std = {key: float(np.std(found, ddof=1)) for key, found in values.items() if several}
    best = max(scores, key=lambda row: row[main])
    results: dict[str, Any] = {'task': name, 'main_score': main, 'mean': mean, 'std': std}
    results |= {'best_seed': best['seed'], 'seeds': scores}
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(workdir / 'results.json', json.dumps(results, indent=2) + '\n')
    columns = {f'seed {row["seed"]}': row for row in scores}
    if several:
        columns |= {'mean': mean, 'std': std}
    table = rich.table.Table('', *columns, title=name)
    for key in shown:
        table.add_row(key, *(f'{column[key]:.4f}' for column in columns.values()))
    rich.console.Console(stderr=True, width=160).print(table)


def write_table(workdir: epath.Path, scores: Mapping[str, list[dict[str, float]]]) -> None:
    """glue.json and glue.md: each task's mean score over the seeds, and the macro average."""
    rows: dict[str, dict[str, Any]] = {}
    for name, found in scores.items():
        mains = [row['score'] for row in found]
        deviation = float(np.std(mains, ddof=1)) if len(mains) > 1 else None
        rows[name] = {'score': float(np.mean(mains)), 'std': deviation, 'seeds': len(mains)}
    average = glue_average({name: row['score'] for name, row in rows.items()})
    results = {'tasks': rows, 'average': average, 'policy': WNLI_POLICY}
    lines = ['| task | score | std | seeds |', '|---|---|---|---|']
    for name, row in rows.items():
        std = f'{row["std"]:.4f}' if row['seeds'] > 1 else ''
        lines.append(f'| {name} | {row["score"]:.4f} | {std} | {row["seeds"]} |')
    lines += [f'| average | {average:.4f} | | |', '', WNLI_POLICY]
    write_whole(workdir / 'glue.json', json.dumps(results, indent=2) + '\n')
    write_whole(workdir / 'glue.md', '\n'.join(lines) + '\n')
    say('\n'.join(lines))
