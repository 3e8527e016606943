"""Prepares a token store from a corpus.

    bert_jax prepare --input='text/*.txt.gz' --output=tokens --vocab_size=30522

`bert_jax train` prepares its corpus in the same way, in a cache.
"""

import dataclasses
import functools
import pathlib
import sys
from typing import Any

import rich.table
from absl import flags

from bert_jax.config import Config, DataConfig, ModelConfig, choices, command_line, validate
from bert_jax.config.console import say
from bert_jax.config.files import is_remote
from bert_jax.data import progress
from bert_jax.data.store import baselines, format
from bert_jax.data.store.preparation import LATER_OPTIONS, OPTIONS, Preparation
from bert_jax.data.text import languages

FLAGS = flags.FlagValues()
DATA = DataConfig()
# The other fields of DataConfig.
OTHER_FIELDS = ('vocab_file', 'eval_corpus', 'data_dir', 'parallel')
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_string(
    'input',
    None,
    'A glob of text files, tfds:NAME[/CONFIG]:SPLIT, builtin or builtin:code; or one of these for '
    'each language: en=text:GLOB,fr=text:GLOB.',
    required=True,
)
_string('output', None, 'Folder of the store; it must not exist yet.', required=True)
flags.DEFINE_integer(
    'vocab_size', 30522, 'Tokens of a vocabulary that is trained.', flag_values=FLAGS
)
_string('vocab_file', '', 'The file or folder of a vocabulary to use instead of training one.')
_enum('tokenizer', DATA.tokenizer, choices('data.tokenizer'), 'The kind of a trained vocabulary.')
flags.DEFINE_boolean('lowercase', True, 'Lowercase text.', flag_values=FLAGS)
_enum(
    'strip_accents',
    DATA.strip_accents,
    choices('data.strip_accents'),
    'Whether to remove accents. auto: only if text is lowercased.',
)
_string('text_field', DATA.text_field, 'The field of .jsonl records and TFDS examples.')
_enum('documents', DATA.documents, choices('data.documents'), 'What ends a document.')
_enum(
    'sentences',
    DATA.sentences,
    choices('data.sentences'),
    'split: prose, which is split into sentences; line: one sentence per line.',
)
_string('language', DATA.language, 'The language; by default that of the vocabulary, or en.')
flags.DEFINE_float(
    'holdout', DATA.holdout, 'The share of documents held out for evaluation.', flag_values=FLAGS
)
_string('eval_corpus', '', 'Held-out text, as text:GLOB; by default a share of the documents.')
_string('parallel', '', 'Pairs of sentences: en-fr=text:FILE or en-fr=text:FILE|text:FILE.')
_enum('objective', Config.objective, choices('objective'), 'The objective that the store is for.')
_string('data_dir', '', 'Where TFDS keeps its data.')


def main(argv: list[str]) -> int:
    command_line.parse_flags(argv, FLAGS)
    if is_remote(FLAGS.output):
        raise ValueError(f'--output={FLAGS.output} has to be a local folder; copy that afterwards')
    known = FLAGS.input == 'builtin' or FLAGS.input.startswith(('builtin:', 'text:', 'tfds:'))
    known = known or bool(languages.NAMED.match(FLAGS.input))
    names = (*OTHER_FIELDS, *OPTIONS, *LATER_OPTIONS)
    values: dict[str, Any] = {name: FLAGS[name].value for name in names}
    data = DataConfig(corpus=FLAGS.input if known else f'text:{FLAGS.input}', **values)
    model = ModelConfig(vocab_size=FLAGS.vocab_size)
    config = validate(Config(data=data, model=model, objective=FLAGS.objective))
    wanted = Preparation.of(config)
    output = pathlib.Path(FLAGS.output).expanduser()
    if wanted.build(output):
        _print_sizes(format.read_meta(output))
    else:
        say(f'{output} exists already')
    return 0


def _print_sizes(meta: format.StoreMeta) -> None:
    """Prints the sizes of a store and its baselines, which a training run prints when it starts."""
    table = rich.table.Table('split', 'documents', 'sentences', 'tokens')
    for split, counts in meta.counts.items():
        table.add_row(split, *(f'{n:,}' for n in dataclasses.astuple(counts)))
    progress.console().print(table)
    say(f'vocabulary: {meta.vocab_size:,} tokens; fingerprint {meta.fingerprint}')
    say(f'unigram entropy: {meta.unigram_entropy:.3f} nats; the masked-LM loss should be lower')
    if meta.baselines:
        shares = ', '.join(f'{meta.baselines[name]:.1%} {name}' for name in baselines.NAMES)
        say(f'accuracy by counting: {shares}')


if __name__ == '__main__':
    sys.exit(command_line.run('prepare', main, sys.argv, FLAGS))
