"""Exports a trained model as a StableHLO program, which runs without bert_jax.

    bert_jax export --checkpoint=DIR --output=DIR

--checkpoint takes the same values as in bert_jax predict. The program takes any number of texts of
any length up to the model's positions, and runs on CPU, GPU and TPU. It returns the outputs of all
heads of the checkpoint. The folder --output receives these files:

    program.jax_export the program for jax.export
    program.stablehlo  the same program for other compilers (portable bytecode)
    parameters.npz     the parameters, which are an argument of the program
    export.json        the inputs and outputs, their shapes, and the names of labels
    tokenizer files    the tokenizer for transformers and for bert_jax
"""

import dataclasses
import functools
import pathlib
import sys

import absl.logging
from absl import flags

from bert_jax.config import DataConfig, choices, command_line
from bert_jax.config.files import atomic_output, is_remote

FLAGS = flags.FlagValues()
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_string(
    'checkpoint',
    None,
    'A workdir, the folder of a checkpoint, or a name on the Hugging Face Hub.',
    required=True,
)
_string('output', None, 'The folder to write; it must not exist yet.', required=True)
flags.DEFINE_enum(
    'dtype', 'float32', choices('model.dtype'), 'The compute type.', flag_values=FLAGS
)


def main(argv: list[str]) -> int:
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns about missing optional files
    command_line.parse_flags(argv, FLAGS)
    if is_remote(FLAGS.output):
        raise ValueError(f'--output={FLAGS.output} has to be a local folder')
    output = pathlib.Path(FLAGS.output).expanduser()
    if output.exists():
        raise ValueError(f'--output={output} exists; remove it or choose another')

    from bert_jax.convert import cached, hf_tokenizer_files
    from bert_jax.data.text import staging
    from bert_jax.inference import model_dir, stablehlo
    from bert_jax.models.heads import DECODER

    folder = cached.model_folder(FLAGS.checkpoint, staging.cache_of(DataConfig()))
    source = model_dir.load(folder)
    if DECODER in source.heads:
        raise ValueError(
            f'--checkpoint={FLAGS.checkpoint} has a decoder, and a program that generates text '
            'cannot be exported; write it for transformers with bert_jax convert --to=hf'
        )
    # Flash attention and an unrolled loop over layers are for training.
    changes = {'scan_unroll': 1, 'attention': 'dense', 'dtype': FLAGS.dtype}
    source = dataclasses.replace(source, config=dataclasses.replace(source.config, **changes))
    output.parent.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    with atomic_output(output) as partial:
        partial.mkdir()
        facts = stablehlo.save(source, partial)
        if source.vocabulary is None:
            notes.append('no vocabulary was written, because the checkpoint has none')
        else:
            try:
                notes += hf_tokenizer_files.write(partial, source)
            except ValueError as error:  # transformers has no such tokenizer
                notes.append(f'the tokenizer is for bert_jax only: {error}')
                source.vocabulary.save(partial)
    size = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    outputs = ', '.join(facts['outputs'])
    print('\n'.join([*notes, f'outputs: {outputs}', f'wrote {output}: {size:.1f} MB']))
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('export', main, sys.argv, FLAGS))
