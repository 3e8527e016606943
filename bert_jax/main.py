"""Pretrains or fine-tunes an encoder, or checks with --check what a run needs.

python -m bert_jax.main --config=configs/tiny.py --workdir=runs/tiny
"""
# ruff: noqa: E402  (signals are handled before the imports, which take seconds)

import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any


def _leave(number: int, _: Any) -> None:
    """Ends the process before training, whose loop has its own handlers.

    An exception instead could be lost in an import.
    """
    os.write(2, b'bert_jax: interrupted; the same command continues from the last checkpoint\n')
    os._exit(128 + number)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)

import jax
from absl import flags
from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config, Phase, command_line
from bert_jax.data.store import format, preparation
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.parallel import distributed, sharding
from bert_jax.preflight import checks
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import workdir as workdirs
from bert_jax.training.loop import HeldOut, train
from bert_jax.training.metrics import log_lines

LOG = logging.getLogger('bert_jax.main')

WORKDIR = flags.DEFINE_string(
    'workdir', '', "The run's folder; by default runs/NAME of the configuration."
)
CHECK = flags.DEFINE_boolean(
    'check', False, 'Check what the run needs, print what is wrong, and write nothing.'
)


def run(config: Config, workdir: epath.Path) -> None:
    """Pretrains, or fine-tunes, by config.data.task."""
    if config.data.task == 'pretrain':
        pretrain(config, workdir)
    else:
        from bert_jax.finetuning import runs  # its scores bring scikit-learn

        runs.run(config, workdir)


def pretrain(config: Config, workdir: epath.Path) -> None:
    """Prepares the corpus if need be, checks the workdir and trains."""
    preparation.check_holdout(config.data)
    mesh = sharding.make_mesh(config.mesh)
    directory = preparation.prepare(config)
    meta = format.read_meta(directory)
    workdirs.same_on_all_hosts(meta.fingerprint)
    vocabulary = tokenizer.load(directory, meta.lowercase)
    vocab_size = model_dir.check_vocabulary(config, vocabulary)
    if vocab_size != config.model.vocab_size:
        sizes = (config.model.vocab_size, vocab_size, meta.vocab_size)
        LOG.info('model.vocab_size %d -> %d; the vocabulary has %d', *sizes)
        model = dataclasses.replace(config.model, vocab_size=vocab_size)
        config = dataclasses.replace(config, model=model)
    workdirs.claim(
        workdir,
        config,
        {
            'name': config.data.corpus,
            'fingerprint': meta.fingerprint,
            'lowercase': meta.lowercase,
            'unigram_entropy': meta.unigram_entropy,
            'made_from': meta.made_from,
        },
        vocabulary.files,
    )
    log_lines(_start_lines(config, meta, workdir))

    host, num_hosts = sharding.host_slice(mesh)
    hosts = {'host': host, 'num_hosts': num_hosts}

    def batches(start: int, stop: int) -> Iterator[HostBatch]:
        from bert_jax.data.pretraining import input_pipeline  # imports TensorFlow: seconds

        return input_pipeline.train_batches(directory, config, start=start, stop=stop, **hosts)

    def eval_batches(phase: Phase) -> HeldOut:
        from bert_jax.data.pretraining import input_pipeline

        return input_pipeline.EvalBatches(directory, config, phase, **hosts)

    train(config, PretrainTask(config.model), batches, eval_batches, workdir)


def _start_lines(config: Config, meta: format.StoreMeta, workdir: epath.Path) -> dict[str, str]:
    task = PretrainTask(config.model)
    shapes = jax.tree.leaves(jax.eval_shape(lambda: task.init(jax.random.key(0))))
    devices = jax.devices()
    counts = [
        f'{split} {c.documents:,} documents, {c.sentences:,} sentences, {c.tokens:,} tokens'
        for split, c in meta.counts.items()
    ]
    return {
        'workdir': str(workdir),
        'devices': f'{len(devices)} x {devices[0].device_kind}, {jax.process_count()} processes',
        'parameters': f'{sum(leaf.size for leaf in shapes):,}',
        'corpus': f'{config.data.corpus} ({meta.fingerprint}): ' + '; '.join(counts),
        'baseline': f'{meta.unigram_entropy:.3f} nats, the unigram entropy: MLM loss to beat',
        'phases': '; '.join(
            f'{p.steps} steps of {p.batch_size} x {p.max_seq_length}' for p in config.train.phases
        ),
    }


def main(argv: list[str]) -> int:
    """Runs the configuration, or checks it (--check), and returns the exit code."""
    logging.getLogger('bert_jax').setLevel(logging.INFO)
    config, name = command_line.parse(argv)
    workdir = epath.Path(WORKDIR.value or f'runs/{name}').expanduser()
    distributed.join()
    if CHECK.value:
        return checks.check(config, workdir)
    run(config, workdir)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('bert_jax', main, sys.argv, leave=distributed.fail))
