"""Pretrains a BERT: flags in, objects built, one call out.

python -m bert_jax.main --config=configs/tiny.py --workdir=runs/tiny
"""
# ruff: noqa: E402  (signals are seen to before imports, which take seconds)

import dataclasses
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # before anything imports TensorFlow
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # it imports only the other, which takes seconds


def _leave(number: int, _: Any) -> None:
    """While training, the loop has its own way; an exception could get lost in an import."""
    os.write(2, b'bert_jax: interrupted; the same command goes on from what is saved\n')
    os._exit(128 + number)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)

import absl.logging
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
from bert_jax.training.checkpoint import first_line
from bert_jax.training.loop import HeldOut, Interrupted, train
from bert_jax.training.metrics import log_lines, say
from bert_jax.training.workdir import claim, same_on_all_hosts

LOG = logging.getLogger('bert_jax.main')

WORKDIR = flags.DEFINE_string(
    'workdir', '', 'Where the run lives; default runs/NAME of the config.'
)
CHECK = flags.DEFINE_boolean(
    'check', False, 'Look at what the run needs, say what is wrong, and leave; nothing is written.'
)

NO_SUCH_FILE = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
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
    same_on_all_hosts(meta.fingerprint)
    vocabulary = tokenizer.load(directory, meta.lowercase)
    vocab_size = model_dir.check_vocabulary(config, vocabulary)
    if vocab_size != config.model.vocab_size:
        sizes = (config.model.vocab_size, vocab_size, meta.vocab_size)
        LOG.info('model.vocab_size %d -> %d; the vocabulary has %d', *sizes)
        model = dataclasses.replace(config.model, vocab_size=vocab_size)
        config = dataclasses.replace(config, model=model)
    claim(
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


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line; 3 not finite; 143, by Ctrl-C 130,
    interrupted with everything saved; 1 what nobody foresaw, with a traceback."""
    # Libraries speak up for warnings only; the project says a line at a time what it does.
    logging.basicConfig(
        handlers=[_Stderr()], format='%(message)s', level=logging.WARNING, force=True
    )
    logging.getLogger('bert_jax').setLevel(logging.INFO)
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        config, name = command_line.parse(argv)
        workdir = epath.Path(WORKDIR.value or f'runs/{name}').expanduser()
        distributed.join()
        if CHECK.value:
            return checks.check(config, workdir)
        run(config, workdir)
    except Interrupted as stop:
        return _say(stop, 128 + stop.number)
    except FloatingPointError as error:
        return distributed.fail(_say(error, 3))
    except (ValueError, ImportError, *NO_SUCH_FILE, flags.Error) as error:
        return distributed.fail(_say(error, 2))
    except Exception as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and 'RESOURCE_EXHAUSTED' in str(error):
            line = first_line(error).removesuffix('.')
            return distributed.fail(_say(f'{line}. {checks.LESS}', 2))
        traceback.print_exc()
        return distributed.fail(1)
    return 0


def _say(what: object, code: int) -> int:
    say(f'bert_jax: {what}')
    return code


class _Stderr(logging.Handler):
    """Writes to what sys.stderr is now: a live progress line puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


if __name__ == '__main__':
    sys.exit(cli(sys.argv))
