"""Command line that prepares a token store from a corpus.

    python -m bert_jax.data.prepare --input='text/*.txt.gz' --output=tokens --vocab_size=30522

`python -m bert_jax.main` prepares its corpus in the same way, into a cache.
"""

import pathlib
import sys
from typing import Any

from absl import flags

from bert_jax.config import Config, DataConfig, ModelConfig, validate
from bert_jax.data import progress
from bert_jax.data.store.preparation import OPTIONS, build, is_there, planned
from bert_jax.data.text import readers, staging


def _main(argv: list[str]) -> None:
    rest = FLAGS(argv)[1:]
    if rest:
        raise ValueError(f'unexpected arguments {" ".join(rest)}; quote the glob of --input')
    options: dict[str, Any] = {
        name: FLAGS[name].value for name in ('vocab_file', 'data_dir', *OPTIONS)
    }
    known = FLAGS.input == 'builtin' or FLAGS.input.startswith(('text:', 'tfds:'))
    data = DataConfig(corpus=FLAGS.input if known else f'text:{FLAGS.input}', **options)
    validate(Config(data=data, model=ModelConfig(vocab_size=FLAGS.vocab_size)))
    data = staging.localized(data)
    source = readers.source(data)
    made_from = planned(data, FLAGS.vocab_size, source)[1]
    output = pathlib.Path(FLAGS.output).expanduser()
    if is_there(output, made_from):
        progress.say(f'{output} is there already')
    build(source, data, FLAGS.vocab_size, output, made_from)


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line."""
    _define_flags()
    if {'-h', '-help', '--help'} & set(argv):
        print(f'{__doc__}\n{FLAGS.main_module_help()}')
        return 0
    try:
        _main(argv)
    except (ValueError, OSError, flags.Error) as error:
        print(f'prepare: {error}', file=sys.stderr)
        return 2
    return 0


FLAGS = flags.FLAGS


def _define_flags() -> None:
    default = DataConfig()
    flags.DEFINE_string('input', None, 'Glob of text files, tfds:NAME[/CONFIG]:SPLIT, or builtin.')
    flags.DEFINE_string('output', None, 'Directory of the store; must not exist yet.')
    flags.DEFINE_integer('vocab_size', 30522, 'Tokens of the vocabulary, where one is trained.')
    flags.DEFINE_string('vocab_file', '', 'A vocab.txt or a SentencePiece .model to use instead.')
    flags.DEFINE_boolean('lowercase', default.lowercase, 'Lowercase and strip accents.')
    flags.DEFINE_string(
        'text_field', default.text_field, 'Field of .jsonl records and TFDS examples.'
    )
    flags.DEFINE_enum(
        'documents', default.documents, ['blank_line', 'file'], 'What ends a document.'
    )
    flags.DEFINE_enum(
        'sentences',
        default.sentences,
        ['split', 'line'],
        'split: prose, to be split into sentences; line: one sentence per line.',
    )
    flags.DEFINE_string('language', default.language, 'Of the prose, for the sentence splitter.')
    flags.DEFINE_float('holdout', default.holdout, 'Share of documents held out for evaluation.')
    flags.DEFINE_string('data_dir', default.data_dir, 'Where TFDS keeps its data.')
    flags.mark_flags_as_required(['input', 'output'])


if __name__ == '__main__':
    sys.exit(cli(sys.argv))
