"""Fine-tunes a pretrained checkpoint on your own labelled texts: csv, tsv or jsonl.

    python -m bert_jax.main --config=configs/finetune_text.py --config.data.train_file=train.csv \\
        --config.data.eval_file=dev.csv --config.init_from=DIR --workdir=runs/text

Columns: text, text_b where there are pairs, label; config.data.*_field name others.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.data.task = 'text'
    config.data.max_seq_length = 128
    config.optim.learning_rate = 5e-5
    config.optim.warmup_steps = 0  # a tenth of the steps: optim.warmup_fraction
    config.model.scan_unroll = 1  # a program for each length: rolled, it compiles much sooner
    config.train.batch_size = 32
    config.train.epochs = 3.0
    config.train.keep = 1
    return config
