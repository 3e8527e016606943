"""Fine-tunes a pretrained checkpoint on GLUE tasks.

    python -m bert_jax.main --config=configs/finetune_glue.py --config.data.task=mrpc \\
        --config.data.dir=GLUE --config.init_from=DIR --workdir=runs/mrpc

GLUE: the folder with the official folders (MRPC, SST-2...), or 'tfds'. DIR: written by
bert_jax.convert, or a workdir.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.data.task = 'sst2'
    config.data.max_seq_length = 128
    config.optim.learning_rate = 5e-5
    config.optim.warmup_steps = 0  # a tenth of the steps: optim.warmup_fraction
    config.model.scan_unroll = 1  # a program for each length: rolled, it compiles much sooner
    config.train.batch_size = 32
    config.train.epochs = 3.0
    config.train.keep = 1
    return config
