"""Fine-tunes a pretrained checkpoint on your own labelled texts: csv, tsv or jsonl.

    bert_jax train --config=finetune_text --config.data.train_file=train.csv \\
        --config.init_from=DIR --workdir=runs/text

Columns: text, text_b if the texts are pairs, and label. config.data.*_field sets other names.
DIR: a Hugging Face folder, a folder of bert_jax convert, or a workdir. A tenth of the file is held
out to evaluate on, unless config.data.eval_file names a file.
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    return finetuning('text')
