"""Draws the curves of a run, or of several runs in one picture.

    pip install '.[plot]'
    bert_jax plot --workdir=runs/tiny
    bert_jax plot --workdir=runs/a --workdir=runs/b --output=compare.svg

The picture shows losses, accuracies and scores, the baselines, the learning rate and the speed. By
default it is curves.png in the (first) workdir. Its name may end in .png, .svg or .pdf.
"""

import sys

from absl import flags

from bert_jax.config import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    'workdir',
    None,
    'The folder of a run. Give the flag again for each further run.',
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_string(
    'output',
    '',
    'The picture to write. Default: curves.png in the first workdir.',
    flag_values=FLAGS,
)


def main(argv: list[str]) -> int:
    command_line.parse_flags(argv, FLAGS)

    from bert_jax.training import curves  # takes a second

    output = FLAGS.output or f'{FLAGS.workdir[0].rstrip("/")}/curves.png'
    command_line.check_output(FLAGS.output)
    curves.save(FLAGS.workdir, output)
    print(output)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('plot', main, sys.argv, FLAGS))
