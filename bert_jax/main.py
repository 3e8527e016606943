"""Pretrains a BERT: flags in, objects built, one call out.

python -m bert_jax.main --config=configs/tiny.py --workdir=runs/tiny
"""

import dataclasses
import json
import logging
import os
import pathlib
import re
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # before anything imports TensorFlow

import absl.logging
import jax
from absl import flags
from etils import epath
from ml_collections import config_flags

from bert_jax.config import Config, from_config_dict, from_dict
from bert_jax.data import prepare, store
from bert_jax.tasks.pretrain import PretrainTask
from bert_jax.train import Interrupted, train
from bert_jax.writers import log_lines

LOG = logging.getLogger('bert_jax.main')

CONFIG = config_flags.DEFINE_config_file('config', None, 'Configuration file, configs/*.py.')
WORKDIR = flags.DEFINE_string(
    'workdir', '', 'Where the run lives; default runs/NAME of the config.'
)
DISTRIBUTED = flags.DEFINE_boolean('distributed', False, 'One of several processes (a pod).')

# What may change when a run goes on: nothing here moves its numbers. The corpus is held to its
# content, by fingerprint.
FREE = re.compile(
    r'train\.(num_steps|log_every|eval_every|checkpoint_every|keep|nonfinite)'
    r'|eval\..*|mesh\..*|init_from|model\.(remat|scan_unroll)'
    r'|data\.(corpus|data_dir|cache_dir|vocab_file|text_field|documents|sentences'
    r'|language|holdout|lowercase)'
)


def run(config: Config, workdir: epath.Path) -> None:
    """Prepares the corpus if need be, checks the workdir and trains."""
    directory = prepare.prepare(config)
    meta = store.read_meta(directory)
    if meta.vocab_size != config.model.vocab_size:
        LOG.info(
            'model.vocab_size %d -> %d, the size of the vocabulary',
            config.model.vocab_size,
            meta.vocab_size,
        )
        model = dataclasses.replace(config.model, vocab_size=meta.vocab_size)
        config = dataclasses.replace(config, model=model)
    _claim(workdir, config, meta, directory)
    log_lines(_start_lines(config, meta, workdir))

    from bert_jax.data import pretrain  # TensorFlow takes seconds to import: after the checks

    host, hosts = jax.process_index(), jax.process_count()
    train(
        config,
        PretrainTask(config.model),
        lambda start, stop: pretrain.train_batches(
            directory, config, start=start, stop=stop, host=host, num_hosts=hosts
        ),
        lambda phase: pretrain.EvalBatches(directory, config, phase, host=host, num_hosts=hosts),
        workdir,
    )


def _claim(
    workdir: epath.Path, config: Config, meta: store.StoreMeta, directory: pathlib.Path
) -> None:
    """Writes what the run is into a new workdir; refuses one that belongs to another run."""
    path, corpus = workdir / 'config.json', workdir / 'corpus.json'
    if path.exists() and corpus.exists():
        there, here = (
            _flat(from_dict(json.loads(path.read_text())).to_dict()),
            _flat(config.to_dict()),
        )
        wrong = [
            f'config.{key} is {there.get(key)} there, {here[key]} here'
            for key in here
            if there.get(key) != here[key] and not FREE.fullmatch(key)
        ]
        fingerprint = json.loads(corpus.read_text())['fingerprint']
        if fingerprint != meta.fingerprint:
            wrong.append(
                f'the corpus is {fingerprint} there ({there["data.corpus"]}), '
                f'{meta.fingerprint} here ({config.data.corpus})'
            )
        if wrong:
            raise ValueError(
                f'{workdir} holds another run: '
                + '; '.join(wrong)
                + '. Use another --workdir, or the same configuration'
            )
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        for name in ('vocab.txt', 'tokenizer.model'):
            if (directory / name).exists():
                (workdir / name).write_bytes((directory / name).read_bytes())
        _write(path, config.to_json())
        _write(
            corpus,
            json.dumps(
                {
                    'fingerprint': meta.fingerprint,
                    'lowercase': meta.lowercase,
                    'unigram_entropy': meta.unigram_entropy,
                    'made_from': meta.made_from,
                },
                indent=2,
            )
            + '\n',
        )


def _write(path: epath.Path, text: str) -> None:
    partial = path.with_suffix('.tmp')
    partial.write_text(text)
    partial.replace(path)


def _flat(values: dict, prefix: str = '') -> dict:
    flat: dict = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _start_lines(config: Config, meta: store.StoreMeta, workdir: epath.Path) -> dict[str, str]:
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


def _main(argv: list[str]) -> None:
    if argv[1:]:
        raise ValueError(f'unexpected arguments: {" ".join(argv[1:])}')
    if DISTRIBUTED.value:
        jax.distributed.initialize()
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
    run(from_config_dict(CONFIG.value), epath.Path(WORKDIR.value or f'runs/{name}'))


def _parse(argv: list[str]) -> list[str]:
    flags.mark_flag_as_required('config')
    return flags.FLAGS(argv)


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line; 3 not finite; 143 interrupted."""
    # Libraries speak up for warnings only; the project says a line at a time what it does.
    logging.basicConfig(format='%(message)s', level=logging.WARNING, force=True)
    logging.getLogger('bert_jax').setLevel(logging.INFO)
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        _main(_parse(argv))
    except Interrupted as stop:
        print(f'bert_jax: {stop}', file=sys.stderr)
        return 143
    except FloatingPointError as error:
        print(f'bert_jax: {error}', file=sys.stderr)
        return 3
    except (ValueError, KeyError, AttributeError, TypeError, OSError, flags.Error) as error:
        if os.environ.get('BERT_JAX_TRACEBACK'):
            raise
        print(f'bert_jax: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(cli(sys.argv))
