"""Fine-tunes a pretrained checkpoint on your own labelled texts: csv, tsv or jsonl.

    python -m bert_jax.main --config=configs/finetune_text.py --config.data.train_file=train.csv \\
        --config.data.eval_file=dev.csv --config.init_from=DIR --workdir=runs/text

Columns: text, text_b if the texts are pairs, and label. config.data.*_field sets other names.
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    return finetuning('text')
