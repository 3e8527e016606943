"""BERT base (110M parameters) as published: 900,000 steps at 128 tokens, 100,000 at 512.

    bert_jax train --config=base --workdir=runs/base \\
        --config.data.corpus='text:books/*.txt'

For a TPU slice or several GPUs; two CPU cores take 2.3 s for a step of 8 x 128. It has not been run
to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.data.corpus = ''  # the built-in text is too small; name your own
    return config
