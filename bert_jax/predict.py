"""Predictions of a trained model: labels, tags, answers, embeddings, masked words.

    python -m bert_jax.predict --checkpoint=WORKDIR --input=new.jsonl --output=predictions.jsonl
    python -m bert_jax.predict --checkpoint=DIR --mode=fill_mask --text='Paris is the [MASK] of it.'
    python -m bert_jax.predict --checkpoint=DIR --mode=embed --input=lines.txt --output=vectors.npz

DIR: a workdir, or a folder written by bert_jax.convert. In Python:

    bert = predict.load(DIR)
    outputs = bert(['first text', ('a pair', 'of texts')])
    outputs = bert.apply({'input_ids': ids, 'attention_mask': mask, 'token_type_ids': types})
"""

import functools
import itertools
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

import absl.logging
import numpy as np
from absl import flags

from bert_jax.config import choices, command_line
from bert_jax.config.files import atomic_output
from bert_jax.data.files import lines
from bert_jax.data.progress import counted
from bert_jax.data.summary import Summary
from bert_jax.finetuning import predictions
from bert_jax.inference.trained_model import POOLINGS, Bert, load

__all__ = ['Bert', 'load']
MASKED = 256  # texts whose masks are filled together
OUTPUTS = {'embed': '.npz', 'task': '.jsonl'}  # mode -> the suffix of --output
FLAGS = flags.FlagValues()  # not the global flags, because programs import this module too
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_string('checkpoint', None, 'A workdir, or a folder of bert_jax.convert.', required=True)
_enum(
    'mode',
    None,
    ['task', 'fill_mask', 'embed'],
    'task: what the model was fine-tuned for. The default is task with --output, else fill_mask.',
)
_string('text', None, 'One text.')
_string(
    'input',
    None,
    'task: .csv, .tsv or .jsonl with texts, .conll or .jsonl with sentences, .json or .jsonl with '
    'questions. Other modes: a file with a text on each line. It may be a .gz, .bz2, .xz or .zst.',
)
_string('output', None, 'task: the .jsonl to write. embed: the .npz to write.')
_enum('pooling', 'mean', POOLINGS, 'embed: how the vectors of a text become one.')
_enum('long', 'truncate', ['truncate', 'window'], 'embed: what to do with texts that are too long.')
_enum('dtype', 'auto', choices('model.dtype'), 'The compute type.')
flags.DEFINE_integer(
    'top_k', 5, 'fill_mask: tokens shown for each mask.', lower_bound=1, flag_values=FLAGS
)


def _task(bert: Bert, source: pathlib.Path, output: pathlib.Path) -> int:
    """Writes a line of JSON per example; returns their number."""
    # In other files each line is an example, so their number is known.
    total = None if {'.json', '.conll'} & {*source.suffixes} else sum(1 for _ in lines(source))
    count, summary = 0, Summary()
    with atomic_output(output) as partial, partial.open('w', encoding='utf-8') as file:
        records = predictions.records(bert, source, summary)
        for record in counted(records, 'predicting', total):
            file.write(json.dumps(record, ensure_ascii=False) + '\n')
            count += 1
    for name, number in summary.lines().items():
        print(f'{name}: {number:,}', file=sys.stderr)
    return count


def _embed(bert: Bert, source: pathlib.Path, output: pathlib.Path) -> int:
    """Writes a .npz with `embeddings`, float32[lines, hidden]; returns the number of lines.

    The embeddings are in a file while they are computed, so they need not fit in memory.
    """
    count = sum(1 for _ in lines(source))
    if not count:
        raise ValueError(f'{source} has no line')
    vectors = bert.embed(_texts(source), FLAGS.pooling, FLAGS.long == 'window')
    with atomic_output(output) as partial, tempfile.TemporaryDirectory(dir=output.parent) as folder:
        file, shape = pathlib.Path(folder) / 'embeddings.npy', (count, bert.config.hidden_size)
        embeddings = np.lib.format.open_memmap(file, 'w+', 'float32', shape)
        for i, vector in zip(range(count), vectors, strict=True):
            embeddings[i] = vector
        with partial.open('wb') as archive:
            np.savez(archive, embeddings=embeddings)
    return count


def _fill_mask(bert: Bert, inputs: Iterable[str]) -> None:
    """Prints each text and, for each of its masks, the most likely tokens."""
    inputs = iter(inputs)
    while texts := list(itertools.islice(inputs, MASKED)):
        for text, masks in zip(texts, bert.fill_mask(texts, FLAGS.top_k), strict=True):
            print(text)
            for candidates in masks:
                print('   ' + ', '.join(f'{piece} {share:.3f}' for piece, share in candidates))


def _texts(path: pathlib.Path) -> Iterator[str]:
    return (line.rstrip('\r\n') for line in lines(path))


def _mode() -> str:
    """The mode that the flags ask for. Raises ValueError for flags that do not fit together."""
    mode = FLAGS.mode or ('fill_mask' if FLAGS.output is None else 'task')
    if (FLAGS.text is None) == (FLAGS.input is None):
        raise ValueError('give one of --text and --input')
    if FLAGS.input is not None and not pathlib.Path(FLAGS.input).is_file():
        raise ValueError(f'--input={FLAGS.input} is not a file')
    if mode == 'fill_mask':
        if FLAGS.output is not None:
            raise ValueError('--mode=fill_mask prints its results; remove --output')
        return mode
    if FLAGS.input is None or FLAGS.output is None:
        raise ValueError(f'--mode={mode} needs --input=FILE and --output=FILE{OUTPUTS[mode]}')
    if not FLAGS.output.endswith(OUTPUTS[mode]):
        raise ValueError(f'--output={FLAGS.output} has to end in {OUTPUTS[mode]}')
    command_line.check_output(FLAGS.output)
    if pathlib.Path(FLAGS.output).exists():
        raise ValueError(f'--output={FLAGS.output} exists; remove it or choose another')
    return mode


def main(argv: list[str]) -> int:
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns about missing optional files
    command_line.parse_flags(argv, FLAGS)
    mode = _mode()
    bert = load(FLAGS.checkpoint, FLAGS.dtype)
    if mode == 'fill_mask':
        _fill_mask(bert, _texts(pathlib.Path(FLAGS.input)) if FLAGS.input else [FLAGS.text])
    else:
        begin, write = time.monotonic(), {'embed': _embed, 'task': _task}[mode]
        count = write(bert, pathlib.Path(FLAGS.input), pathlib.Path(FLAGS.output))
        rate = count / (time.monotonic() - begin)
        print(f'{count:,} records, {rate:,.0f} a second, in {FLAGS.output}', file=sys.stderr)
    if bert.truncated:
        longest = bert.config.max_position_embeddings
        print(f'{bert.truncated:,} texts had more than {longest} tokens, cut', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('predict', main, sys.argv, FLAGS))
