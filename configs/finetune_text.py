"""Fine-tunes a pretrained checkpoint on your own labelled texts: csv, tsv or jsonl.

    bert_jax train --config=finetune_text --config.data.train_file=train.csv \\
        --config.init_from=DIR --workdir=runs/text

Columns: text, text_b if the texts are pairs, and label. config.data.*_field sets other names.
DIR: a Hugging Face folder, a folder of bert_jax convert, or a workdir. A tenth of the file is held
out to evaluate on, unless config.data.eval_file names a file. Some options:

    config.data.multi_label      a text has several labels: a list in jsonl, 'a,b' in tables
    config.data.class_weights    'balanced', or 'spam=5,ham=1'
    config.data.split_field      the column that says train, dev or test
    config.train.main_score      what is best: accuracy, macro_f1, f1/spam, loss...
    config.train.patience        ends after this many evaluations without a better score
    config.train.eval_steps      steps between evaluations, instead of epochs
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    return finetuning('text')
