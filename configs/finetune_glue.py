"""Fine-tunes a pretrained checkpoint on GLUE tasks.

    bert_jax train --config=finetune_glue --config.data.task=mrpc \\
        --config.data.dir=GLUE --config.init_from=DIR --workdir=runs/mrpc

GLUE: the folder that holds the official folders (MRPC, SST-2...), or 'tfds'. DIR: a folder of
bert_jax convert, or a workdir.
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    return finetuning('sst2')
