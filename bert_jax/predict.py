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
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any

import absl.logging
from absl import flags

from bert_jax.config import choices, command_line
from bert_jax.inference import POOLINGS

if TYPE_CHECKING:
    from bert_jax.inference.trained_model import Bert, load

__all__ = ['Bert', 'load']
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


def __getattr__(name: str) -> Any:
    """`Bert` and `load`. The command imports JAX only after it has checked its flags."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from bert_jax.inference import trained_model

    return getattr(trained_model, name)


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

    from bert_jax.finetuning import predictions
    from bert_jax.inference.text_files import print_masked_words, texts, write_embeddings
    from bert_jax.inference.trained_model import load

    bert = load(FLAGS.checkpoint, FLAGS.dtype)
    if mode == 'fill_mask':
        inputs = texts(pathlib.Path(FLAGS.input)) if FLAGS.input else [FLAGS.text]
        print_masked_words(bert, inputs, FLAGS.top_k)
    else:
        begin, files = time.monotonic(), (pathlib.Path(FLAGS.input), pathlib.Path(FLAGS.output))
        if mode == 'task':
            count = predictions.write_records(bert, *files)
        else:
            count = write_embeddings(bert, *files, FLAGS.pooling, FLAGS.long == 'window')
        rate = count / (time.monotonic() - begin)
        print(f'{count:,} records, {rate:,.0f} a second, in {FLAGS.output}', file=sys.stderr)
    if bert.truncated:
        longest = bert.config.max_position_embeddings
        print(f'{bert.truncated:,} texts had more than {longest} tokens, cut', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('predict', main, sys.argv, FLAGS))
