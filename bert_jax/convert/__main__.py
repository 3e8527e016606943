"""Checkpoints of other projects in and out.

    python -m bert_jax.convert --from=hf  --input=DIR --output=DIR
    python -m bert_jax.convert --from=tf1 --input=DIR --output=DIR
    python -m bert_jax.convert --to=hf    --input=WORKDIR_OR_DIR --output=DIR
    python -m bert_jax.convert --to=tf1   --input=WORKDIR_OR_DIR --output=DIR

hf: a folder of transformers' BERT (config.json, safetensors or pytorch_model.bin, vocabulary).
tf1: a folder of google-research/bert (bert_config.json, bert_model.ckpt.*, vocab.txt).
What --from writes is for config.init_from, bert_jax.predict and --to.
Of a cased model whose folder does not say so (tf1 never does): --nolowercase.
"""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # before anything imports TensorFlow
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # it imports only the other, which takes seconds

import absl.logging
import flax.traverse_util
import jax
import numpy as np
from absl import flags

from bert_jax.convert import hf, rules, tf1
from bert_jax.convert.foreign import Foreign, full_config
from bert_jax.inference import model_dir
from bert_jax.models.heads import HeadedEncoder

FORMATS = {'hf': hf, 'tf1': tf1}


def convert_out(target: str, source: pathlib.Path, output: pathlib.Path) -> None:
    """A workdir or a folder of ours -> a folder of `target`."""
    found = model_dir.load(source).unpadded()
    with _whole(output) as partial:
        notes = FORMATS[target].write(partial, found)
    print('\n'.join([*notes, f'wrote {output}']))


def convert_in(
    origin: str,
    folder: pathlib.Path,
    output: pathlib.Path,
    allow_missing: bool = False,
    lowercase: bool | None = None,
) -> None:
    """A folder of `origin` -> a folder of ours. lowercase: whether text is, where the folder does
    not say; None assumes so. Raises ValueError where parameters are missing or misshapen, and where
    the vocabulary looks cased and nobody says."""
    source = FORMATS[origin].read(folder, lowercase)
    heads = rules.heads_of(source.tensors, source.family, source.model.num_hidden_layers)
    if 'next_sentence' in heads and 'pooler' not in heads:
        heads = ('pooler', *heads)  # it stands on the pooler, which then is missing
    abstract = model_dir.abstract_params(source.model, heads)
    flat = flax.traverse_util.flatten_dict(abstract, sep='/')
    shapes = {path: leaf.shape for path, leaf in flat.items()}
    arrays, missing = rules.to_ours(source.tensors, shapes, source.family)
    if missing and not allow_missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise ValueError(
            f'no tensor {", ".join(missing[:5])}{more}; '
            '--allow_missing fills them with fresh values'
        )
    if missing:
        fresh = rules.to_theirs(_fresh(source, heads), source.family)
        arrays, _ = rules.to_ours(fresh | dict(source.tensors), shapes, source.family)
        print(f'missing, filled with fresh values: {", ".join(missing)}')
    with _whole(output) as partial:
        if source.vocabulary is not None:
            lowercase = source.vocabulary.lowercase
        model_dir.save(
            partial,
            full_config(source.model, lowercase is not False),
            flax.traverse_util.unflatten_dict(arrays, sep='/'),
            source.vocabulary,
        )
        report = {'unused': dict(source.unused), 'missing': missing}
        (partial / 'conversion.json').write_text(json.dumps(report, indent=2) + '\n')
    _summary(source, heads, arrays, output)


def _fresh(source: Foreign, heads: tuple[str, ...]) -> dict[str, np.ndarray]:
    ids = np.zeros((1, 8), np.int32)
    model = HeadedEncoder(source.model, heads)
    params = jax.jit(model.init)(jax.random.key(0), ids, ids, ids)['params']
    fresh = model_dir.Pretrained(source.model, heads, flax.linen.unbox(params), None)
    return fresh.arrays()


def _summary(
    source: Foreign, heads: tuple[str, ...], arrays: dict[str, np.ndarray], output: pathlib.Path
) -> None:
    count = sum(array.size for array in arrays.values())
    print(f'{count:,} parameters from {len(source.tensors)} tensors; heads: {", ".join(heads)}')
    by_reason = collections.defaultdict(list)
    for name, reason in source.unused.items():
        by_reason[reason].append(name)
    for reason, names in by_reason.items():
        print(f'{len(names)} tensors not used, {reason}: {sorted(names)[0]}...')
    if source.vocabulary is None:
        print('no vocabulary there; texts need one, token ids do not')
    print('\n'.join([*source.notes, f'wrote {output}']))


@contextlib.contextmanager
def _whole(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write to, which becomes `output` when all went well and is removed when not."""
    if output.exists():
        raise ValueError(f'{output} exists; remove it or choose another --output')
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.parent / f'.{output.name}.tmp-{os.getpid()}'
    partial.mkdir()
    try:
        yield partial
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _main(argv: list[str]) -> None:
    rest = FLAGS(argv)[1:]
    if rest:
        raise ValueError(f'unexpected arguments {" ".join(rest)}')
    origin, target = FLAGS['from'].value, FLAGS['to'].value
    if (origin is None) == (target is None):
        raise ValueError('give one of --from and --to')
    for name, path in (('input', FLAGS.input), ('output', FLAGS.output)):
        if '://' in path:
            raise ValueError(f'--{name}={path}: give a folder of this machine; copy it first')
    source, output = (pathlib.Path(p).expanduser() for p in (FLAGS.input, FLAGS.output))
    if not source.is_dir():
        raise ValueError(f'--input={source} is not a folder')
    if target is not None:
        convert_out(target, source, output)
    if origin is not None:
        convert_in(origin, source, output, FLAGS.allow_missing, FLAGS.lowercase)


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line; 130 interrupted."""
    if {'-h', '-help', '--help'} & set(argv):
        print(f'{__doc__}\n{FLAGS.main_module_help()}')
        return 0
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns of what is not there to be read
    try:
        _main(argv)
    except (ValueError, OSError, ImportError, flags.Error) as error:
        print(f'convert: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('convert: interrupted; nothing was written', file=sys.stderr)
        return 130
    return 0


FLAGS = flags.FLAGS

if __name__ == '__main__':
    flags.DEFINE_enum('from', None, list(FORMATS), 'Format of --input; ours is written.')
    flags.DEFINE_enum('to', None, list(FORMATS), 'Format of --output; ours is read.')
    flags.DEFINE_string('input', None, 'Folder to read.')
    flags.DEFINE_string('output', None, 'Folder to write; must not exist yet.')
    flags.DEFINE_boolean('allow_missing', False, 'Fill missing parameters with fresh values.')
    flags.DEFINE_boolean(
        'lowercase',
        None,
        'Whether text is lowercased, where the folder does not say (tf1 never does).',
    )
    flags.mark_flags_as_required(['input', 'output'])
    sys.exit(cli(sys.argv))
