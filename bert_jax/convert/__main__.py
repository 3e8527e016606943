"""Converts other projects' checkpoints to bert_jax and back.

    bert_jax convert --from=hf  --input=DIR --output=DIR
    bert_jax convert --from=hf  --input=google-bert/bert-base-uncased --output=DIR
    bert_jax convert --from=tf1 --input=DIR --output=DIR
    bert_jax convert --to=hf    --input=WORKDIR_OR_DIR --output=DIR
    bert_jax convert --to=tf1   --input=WORKDIR_OR_DIR --output=DIR

hf: a folder of Hugging Face transformers (config.json, weights, vocabulary) of one of the families
BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT, ALBERT, XLM, FlauBERT or ModernBERT, or
an EncoderDecoderModel whose encoder and decoder are of the first four types.
tf1: a folder of google-research/bert (bert_config.json, bert_model.ckpt.*, vocab.txt) or of
google-research/albert (albert_config.json, model.ckpt-best.*, 30k-clean.model).
config.init_from, bert_jax predict and --to read what --from writes.
If a model is cased and its folder does not say so (tf1 never does), give --nolowercase.
"""

import functools
import pathlib
import sys

import absl.logging
from absl import flags

from bert_jax.config import command_line

FORMATS = ('hf', 'tf1')  # the keys of convert.folders.FORMATS, whose import takes seconds


def main(argv: list[str]) -> int:
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns about files that are optional
    command_line.parse_flags(argv, FLAGS)
    origin, target = FLAGS['from'].value, FLAGS['to'].value
    if (origin is None) == (target is None):
        raise ValueError('give one of --from and --to')
    for name, path in (('input', FLAGS.input), ('output', FLAGS.output)):
        if '://' in path:
            raise ValueError(f'--{name}={path} has to be a local folder; copy it first')
    source, output = (pathlib.Path(path).expanduser() for path in (FLAGS.input, FLAGS.output))
    if origin == 'hf':
        from bert_jax.convert import hub

        source = hub.local_folder(FLAGS.input) or source
    if not source.is_dir():
        advice = f'; give its folder, {source.parent}' if source.is_file() else ''
        raise ValueError(f'--input={source} is not a folder{advice}')

    from bert_jax.convert.folders import convert_in, convert_out

    if target is not None:
        convert_out(target, source, output)
    elif origin is not None:
        convert_in(origin, source, output, FLAGS.allow_missing, FLAGS.lowercase)
    return 0


FLAGS = flags.FlagValues()
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_boolean = functools.partial(flags.DEFINE_boolean, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, enum_values=FORMATS, flag_values=FLAGS)
_enum('from', None, help='The format of --input; a folder for bert_jax is written.')
_enum('to', None, help='The format of --output; a workdir or a folder of bert_jax is read.')
_string('input', None, 'The folder to read, or a model of the Hugging Face Hub.', required=True)
_string('output', None, 'The folder to write; it must not exist yet.', required=True)
_boolean('allow_missing', False, 'Fill missing parameters with fresh values.')
_boolean('lowercase', None, 'Whether text is lowercased, if the folder does not say (as in tf1).')

if __name__ == '__main__':
    sys.exit(command_line.run('convert', main, sys.argv, FLAGS))
