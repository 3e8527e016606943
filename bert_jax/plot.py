"""Draws the curves of a run: its losses, and its accuracy or scores on held-out data.

pip install '.[plot]'
python -m bert_jax.plot --workdir=runs/tiny --output=curves.png
"""

import pathlib
import sys

from absl import flags
from etils import epath

from bert_jax.config import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string('workdir', None, 'The folder of a run.', required=True, flag_values=FLAGS)
flags.DEFINE_string('output', 'curves.png', 'The image file to write.', flag_values=FLAGS)


def main(argv: list[str]) -> int:
    command_line.parse_flags(argv, FLAGS)

    from bert_jax.training import curves  # takes a second

    curves.draw(epath.Path(FLAGS.workdir).expanduser(), pathlib.Path(FLAGS.output))
    print(f'wrote {FLAGS.output}', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('plot', main, sys.argv, FLAGS))
