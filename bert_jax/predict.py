"""Predictions of a trained model: labels, tags, answers, texts, embeddings, masked words.

    bert_jax predict --checkpoint=DIR --text='A fine film.' --text='A bad one.'
    bert_jax predict --checkpoint=DIR --text='Who?' --context='Anna went home.'
    bert_jax predict --checkpoint=DIR --text='Paris is the [MASK] of France.'
    bert_jax predict --checkpoint=DIR --input=new.csv --output=predictions.csv
    bert_jax predict --checkpoint=DIR --input=english.txt --output=french.txt
    bert_jax predict --checkpoint=DIR --mode=embed --input=lines.txt --output=v.npz

DIR: a workdir, a folder written by bert_jax convert, or a folder of a Hugging Face or TensorFlow 1
checkpoint, which is converted once into the cache. In Python, see `bert_jax.load`.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING

from bert_jax.parallel import signals

if __name__ == '__main__':
    signals.exit_at_once('predict: interrupted')  # before the other imports, which take seconds

import absl.logging
from absl import flags

from bert_jax.config import DataConfig, choices, command_line
from bert_jax.config.console import plural, say
from bert_jax.config.files import sole_writer
from bert_jax.data.labelled import file_lists
from bert_jax.inference import POOLINGS

# Modules that import JAX are imported in functions. So a mistake on the command line takes no time.
if TYPE_CHECKING:
    from bert_jax.data.labelled.bad_rows import OnError
    from bert_jax.finetuning.model import Model

MAX_PRINTED_ROWS = 5  # bad rows that are printed one by one
# The suffixes of --output by mode.
OUTPUTS = {'embed': ('.npz',), 'task': ('.jsonl', '.csv', '.tsv', '.txt')}
FLAGS = flags.FlagValues()  # not the global flags, because programs import this module too
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_texts = functools.partial(flags.DEFINE_multi_string, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_boolean = functools.partial(flags.DEFINE_boolean, flag_values=FLAGS)
_integer = functools.partial(flags.DEFINE_integer, flag_values=FLAGS)
_float = functools.partial(flags.DEFINE_float, flag_values=FLAGS)
_string(
    'checkpoint',
    None,
    'A workdir, the folder of a checkpoint, or a name on the Hugging Face Hub.',
    required=True,
)
_enum(
    'mode',
    None,
    ['task', 'fill_mask', 'embed'],
    'task: what the model was fine-tuned for. Default: task for a fine-tuned model, or fill_mask.',
)
_texts('text', [], 'A text or a question. It may be given several times.')
_texts('text_b', [], 'task: the second text of a pair, for each --text.')
_texts('context', [], 'task: the text that has the answer, for each --text or one for all.')
_string(
    'input',
    None,
    'task: .csv, .tsv or .jsonl with texts, .conll or .jsonl with sentences, .json or .jsonl with '
    'questions, or a table; .txt with a text to translate on each line. Other modes: .csv, .tsv, '
    '.jsonl or .json with texts, or any other file with a text on each line. It may be a .gz, '
    '.bz2, .xz or .zst. Several files: a.csv,b.csv or a pattern; their rows are written in order.',
)
_string(
    'output',
    None,
    'task: the .jsonl, .csv or .tsv to write; .txt for texts alone. embed: the .npz to write.',
)
_enum(
    'on_error',
    'stop',
    ['stop', 'skip'],
    'Stop at the first bad row of --input, or leave bad rows out and report them.',
)
_boolean('columns', True, 'task: write the columns of --input to --output, too.')
_integer(
    'num_beams',
    None,
    'translate: the number of beams of the beam search. 1 is greedy search. Default: that of '
    'training.',
    lower_bound=1,
)
_float(
    'length_penalty',
    None,
    'translate, with several beams: larger numbers give longer texts. Default: that of training.',
)
_integer(
    'no_repeat_ngram_size',
    None,
    'translate: no n-gram of this many tokens occurs twice in a text. Default: that of training.',
    lower_bound=0,
)
_boolean(
    'all_scores',
    False,
    'task: write the probability of every label for each word, too. Texts always have all.',
)
_enum(
    'pooling',
    None,
    POOLINGS,
    'embed: how the vectors of a text become one. Default: as a Sentence Transformers folder says, '
    'or the mean.',
)
_string('prompt', None, 'embed: the name of a prompt of a Sentence Transformers folder.')
_enum('long', 'truncate', ['truncate', 'window'], 'embed: what to do with texts that are too long.')
_string('language', '', 'The language of the texts, for a model of several languages.')
_enum('dtype', 'auto', choices('model.dtype'), 'The compute type.')
_float(
    'threshold',
    None,
    'task, if a text may have several labels: those with a larger probability are predicted. '
    'Default: config.eval.threshold of the run, 0.5.',
    lower_bound=0.0,
    upper_bound=1.0,
)
_integer('top_k', 5, 'How many labels, answers or tokens to print.', lower_bound=1)


def load(directory: str | os.PathLike, dtype: str = 'auto', language: str = '') -> 'Model':
    """See `bert_jax.load`."""
    from bert_jax.convert import cached
    from bert_jax.data.text import staging
    from bert_jax.finetuning.model import Model

    folder = cached.model_folder(directory, staging.cache_of(DataConfig()))
    return Model.load(folder, dtype, os.fspath(directory), language)


class BadRows:
    """Reports rows that are left out: the first MAX_PRINTED_ROWS of them, and their number."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, error: ValueError) -> None:
        self.number += 1
        if self.number <= MAX_PRINTED_ROWS:
            say(f'left out: {error}')

    def finish(self, source: str) -> None:
        """Says how many rows of `source` were left out, if any."""
        if self.number:
            rows = plural(self.number, 'bad row was', 'bad rows were')
            say(f'{rows} left out of {source}')


def _check_flags() -> None:
    """Raises ValueError for flags that do not fit together, whatever the model is."""
    if bool(FLAGS.text) == (FLAGS.input is not None):
        raise ValueError('give --text or --input')
    given = {'text': FLAGS.text, 'text_b': FLAGS.text_b, 'context': FLAGS.context}
    for name, texts in given.items():
        if not all(text.strip() for text in texts):
            raise ValueError(f'--{name} is empty; expected a text')
    _sources()  # raises if a file does not exist
    if FLAGS.output is None:
        if FLAGS.all_scores:
            raise ValueError('--all_scores is for a file: give --input=FILE and --output=FILE')
        if FLAGS.mode == 'embed' and len(FLAGS.text) < 2:
            raise ValueError(
                '--mode=embed needs --input=FILE and --output=FILE.npz, or several --text, whose '
                'similarity to the first it prints'
            )
        return
    if FLAGS.mode == 'fill_mask':
        raise ValueError('--mode=fill_mask prints its results; remove --output')
    if FLAGS.input is None:
        raise ValueError('--text prints its results; remove --output, or give --input=FILE')
    suffixes = OUTPUTS[FLAGS.mode or 'task']
    if not FLAGS.output.endswith(suffixes):
        raise ValueError(f'--output={FLAGS.output} has to end in {", ".join(suffixes)}')
    command_line.check_output(FLAGS.output)


def _sources() -> list[pathlib.Path]:
    """The files of --input. Raises ValueError if one does not exist."""
    return [pathlib.Path(name) for name in file_lists.paths(FLAGS.input or '', '--input')]


def _configure(bert: 'Model') -> None:
    """Says which language the texts are taken as, and applies the flags about predictions."""
    known = bert.config.language_names
    if len(known) > 1 and not FLAGS.language:
        used, others = bert.data.language or known[0], ', '.join(known)
        say(f'texts are taken as {used}; --language chooses one of {others}')
    bert.configure_search(FLAGS.num_beams, FLAGS.length_penalty, FLAGS.no_repeat_ngram_size)
    if FLAGS.threshold is not None:
        if not bert.multi_label:
            raise ValueError('--threshold is for a model of texts with several labels; remove it')
        bert.eval = dataclasses.replace(bert.eval, threshold=FLAGS.threshold)


def _mode(bert: 'Model') -> str:
    """The mode that --mode names. By default it is 'fill_mask' for a model with a masked-LM head
    and no task head, if there is no --output; otherwise it is 'task'."""
    from bert_jax.models.heads import TASK_HEADS

    if FLAGS.mode or FLAGS.output:
        return FLAGS.mode or 'task'
    if {*TASK_HEADS} & {*bert.heads} or 'masked_lm' not in bert.heads:
        return 'task'
    return 'fill_mask'


def _print(bert: 'Model', mode: str, on_error: 'OnError | None') -> None:
    """Prints the predictions for --text or --input."""
    from bert_jax.data.labelled import examples
    from bert_jax.finetuning import predictions, printed
    from bert_jax.inference import text_files

    sources = _sources()
    given = [examples.Example(text, None, None, '--text') for text in FLAGS.text]
    if mode == 'embed':
        windows = FLAGS.long == 'window'
        text_files.print_similarities(bert, FLAGS.text, FLAGS.pooling, windows, FLAGS.prompt)
    elif mode == 'fill_mask':
        inputs = text_files.read_all(sources, bert.data, on_error) if sources else given
        text_files.print_masked_words(bert, inputs, FLAGS.top_k, on_error)
    elif sources:
        found = predictions.records(bert, sources, on_error, columns=True)
        for record in bert.until_stopped(found):
            printed.show(bert, record, FLAGS.top_k)
    else:
        printed.show_texts(bert, FLAGS.text, FLAGS.text_b, FLAGS.context, FLAGS.top_k)


def _write(bert: 'Model', mode: str, on_error: 'OnError | None') -> None:
    """Writes the predictions for --input to --output."""
    from bert_jax.finetuning import predictions
    from bert_jax.inference import text_files

    begin, sources, output = time.monotonic(), _sources(), pathlib.Path(FLAGS.output)
    if mode == 'task':
        columns, scores = FLAGS.columns, FLAGS.all_scores
        count = predictions.write_records(bert, sources, output, on_error, columns, scores)
    else:
        pooling, windows, prompt = FLAGS.pooling, FLAGS.long == 'window', FLAGS.prompt
        count = text_files.write_embeddings(
            bert, sources, output, pooling, windows, prompt, on_error
        )
    rate = count / (time.monotonic() - begin)
    speed = f'{rate:,.0f}' if rate >= 10 else f'{rate:.1f}'
    say(f'wrote {FLAGS.output}: {plural(count, "record")}, {speed} a second')


def main(argv: list[str]) -> int:
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns about missing optional files
    command_line.parse_flags(argv, FLAGS)
    _check_flags()
    with sole_writer(pathlib.Path(FLAGS.output)) if FLAGS.output else contextlib.nullcontext():
        _predict()
    return 0


def _predict() -> None:
    """Loads the model, and prints or writes its predictions and what was counted."""
    with signals.Stopper('stopping; press Ctrl-C again to end at once', 'interrupted') as stopper:
        bert = load(FLAGS.checkpoint, FLAGS.dtype, FLAGS.language)
        bert.until_stopped = stopper.until_stopped
        _configure(bert)
        mode = _mode(bert)
        bad = BadRows()
        on_error = bad if FLAGS.on_error == 'skip' else None
        (_print if FLAGS.output is None else _write)(bert, mode, on_error)
    bad.finish(FLAGS.input)
    for name, number in bert.counted.lines().items():
        say(f'{name}: {number:,}')
    if mode == 'task':
        return
    encoder = bert.sentences if mode == 'embed' and FLAGS.pooling is None else bert.encoder
    for name, number in encoder.totals.items():
        say(f'{name}: {number:,}')
    if encoder.truncated:
        texts, longest = plural(encoder.truncated, 'text'), encoder.longest
        say(f'{texts} with more than {longest} tokens, of which only the first {longest} are used')


if __name__ == '__main__':
    sys.exit(command_line.run('predict', main, sys.argv, FLAGS))
