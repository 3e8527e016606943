"""Use of a trained model: embeddings, masked words, all outputs.

    python -m bert_jax.predict --checkpoint=WORKDIR --input=new.jsonl --output=predictions.jsonl
    python -m bert_jax.predict --checkpoint=DIR --mode=fill_mask --text='Paris is the [MASK] of it.'
    python -m bert_jax.predict --checkpoint=DIR --mode=embed --input=lines.txt --output=vectors.npz

DIR: a workdir, or a folder written by bert_jax.convert. In Python:

    bert = predict.load(DIR)
    outputs = bert(['first text', ('a pair', 'of texts')])
    outputs = bert.apply({'input_ids': ids, 'attention_mask': mask, 'token_type_ids': types})
"""

import itertools
import json
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator

import absl.logging
import numpy as np
from absl import flags

from bert_jax.config import choices
from bert_jax.data.labelled.examples import lines
from bert_jax.data.progress import counted
from bert_jax.data.summary import Summary
from bert_jax.finetuning import predictions
from bert_jax.inference.trained_model import POOLINGS, Bert, load

__all__ = ['Bert', 'load']
MASKED = 256  # texts whose masks are filled together
# Its own, because the module is a library too.
FLAGS = flags.FlagValues()
flags.DEFINE_string(
    'checkpoint', None, 'A workdir, or a folder of bert_jax.convert.', flag_values=FLAGS
)
flags.DEFINE_enum(
    'mode',
    None,
    ['task', 'fill_mask', 'embed'],
    'task: what the model was fine-tuned for. By default task with --output, else fill_mask.',
    flag_values=FLAGS,
)
flags.DEFINE_string('text', None, 'One text.', flag_values=FLAGS)
flags.DEFINE_string(
    'input',
    None,
    'task: .csv, .tsv or .jsonl of texts, .conll or .jsonl of sentences, .json or .jsonl of '
    'questions. Else a file of texts, one a line. All but .json may be .gz.',
    flag_values=FLAGS,
)
flags.DEFINE_string(
    'output', None, 'task: the .jsonl to write. embed: the .npz.', flag_values=FLAGS
)
flags.DEFINE_enum(
    'pooling', 'mean', list(POOLINGS), 'embed: what stands for a text.', flag_values=FLAGS
)
flags.DEFINE_enum(
    'long',
    'truncate',
    ['truncate', 'window'],
    'embed: texts longer than the positions.',
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    'dtype', 'auto', list(choices('model.dtype')), 'What is computed in.', flag_values=FLAGS
)
flags.DEFINE_integer(
    'top_k', 5, 'fill_mask: tokens shown for each mask.', lower_bound=1, flag_values=FLAGS
)
flags.mark_flag_as_required('checkpoint', flag_values=FLAGS)


def write_embeddings(
    vectors: Iterator[np.ndarray], count: int, width: int, output: pathlib.Path
) -> None:
    """A .npz with `embeddings`, float32[count, width], written as the vectors come."""
    partial = output.with_name(f'.{output.name}.tmp-{os.getpid()}')
    header = {'descr': '<f4', 'fortran_order': False, 'shape': (count, width)}
    try:
        with (
            zipfile.ZipFile(partial, 'w', allowZip64=True) as archive,
            archive.open('embeddings.npy', 'w', force_zip64=True) as member,
        ):
            np.lib.format.write_array_header_1_0(member, header)
            written = 0
            for vector in vectors:
                member.write(np.ascontiguousarray(vector, '<f4').tobytes())
                written += 1
        assert written == count, (written, count)
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)


def _texts(path: pathlib.Path) -> Iterator[str]:
    return (line.rstrip('\r\n') for line in lines(path))


def _task(bert: Bert, source: pathlib.Path, output: pathlib.Path) -> None:
    # Lines are examples in all files but these.
    whole = {'.json', '.conll'} & set(source.suffixes)
    total = None if whole else sum(1 for _ in lines(source))
    partial = output.with_name(f'.{output.name}.tmp-{os.getpid()}')
    begin, count, summary = time.monotonic(), 0, Summary()
    try:
        with partial.open('w', encoding='utf-8') as file:
            records = predictions.records(bert, source, summary)
            for record in counted(records, 'predicting', total):
                file.write(json.dumps(record, ensure_ascii=False) + '\n')
                count += 1
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
    seconds = time.monotonic() - begin
    for what, number in summary.lines().items():
        print(f'{what}: {number:,}', file=sys.stderr)
    print(f'{count:,} records, {count / seconds:,.0f} a second, in {output}', file=sys.stderr)


def _embed(bert: Bert, source: pathlib.Path, output: pathlib.Path) -> None:
    count = sum(1 for _ in lines(source))
    if not count:
        raise ValueError(f'{source} has no line')
    begin = time.monotonic()
    vectors = bert.embed(_texts(source), FLAGS.pooling, FLAGS.long == 'window')
    write_embeddings(vectors, count, bert.config.hidden_size, output)
    seconds = time.monotonic() - begin
    print(
        f'{count:,} texts, {count / seconds:,.0f} a second; {bert.truncated:,} were longer than '
        f'{bert.config.max_position_embeddings} tokens and lost their end; wrote {output}',
        file=sys.stderr,
    )


def _fill_mask(bert: Bert, inputs: Iterable[str]) -> None:
    inputs = iter(inputs)
    while some := list(itertools.islice(inputs, MASKED)):
        for text, found in zip(some, bert.fill_mask(some, FLAGS.top_k), strict=True):
            print(text)
            for candidates in found:
                print('   ' + ', '.join(f'{piece} {share:.3f}' for piece, share in candidates))
    if bert.truncated:
        print(f'{bert.truncated:,} texts were too long and lost their end', file=sys.stderr)


def _main(argv: list[str]) -> None:
    rest = FLAGS(argv)[1:]
    if rest:
        raise ValueError(f'unexpected arguments {" ".join(rest)}')
    if (FLAGS.text is None) == (FLAGS.input is None):
        raise ValueError('give one of --text and --input')
    mode = FLAGS.mode or ('fill_mask' if FLAGS.output is None else 'task')
    if mode == 'fill_mask' and FLAGS.output is not None:
        raise ValueError('--mode=fill_mask prints what it finds; leave --output away')
    if mode != 'fill_mask' and (FLAGS.input is None or FLAGS.output is None):
        kinds = {'embed': 'a text a line, and --output, a .npz', 'task': 'and --output, a .jsonl'}
        raise ValueError(f'--mode={mode} needs --input, {kinds[mode]} file')
    if FLAGS.input is not None and not pathlib.Path(FLAGS.input).is_file():
        raise ValueError(f'--input={FLAGS.input} is not a file')
    if mode == 'embed' and not FLAGS.output.endswith('.npz'):
        raise ValueError(f'--output={FLAGS.output} has to end in .npz')
    if mode == 'task' and not FLAGS.output.endswith('.jsonl'):
        raise ValueError(f'--output={FLAGS.output} has to end in .jsonl')
    if FLAGS.output is not None and not pathlib.Path(FLAGS.output).absolute().parent.is_dir():
        raise ValueError(f'--output={FLAGS.output}: there is no such folder')
    if FLAGS.output is not None and pathlib.Path(FLAGS.output).exists():
        raise ValueError(f'--output={FLAGS.output} exists; remove it or choose another')
    bert = load(FLAGS.checkpoint, FLAGS.dtype)
    if mode == 'fill_mask':
        _fill_mask(bert, _texts(pathlib.Path(FLAGS.input)) if FLAGS.input else [FLAGS.text])
    else:
        write = {'embed': _embed, 'task': _task}[mode]
        write(bert, pathlib.Path(FLAGS.input), pathlib.Path(FLAGS.output))


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line; 130 interrupted."""
    if {'-h', '-help', '--help'} & set(argv):
        print(f'{__doc__}\n{FLAGS.main_module_help()}')
        return 0
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns of what is not there to be read
    try:
        _main(argv)
    except (ValueError, OSError, EOFError, ImportError, flags.Error) as error:
        print(f'predict: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('predict: interrupted; nothing was written', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(cli(sys.argv))
