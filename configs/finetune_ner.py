"""Fine-tunes a pretrained checkpoint to tag words, from CoNLL files (the last column is the tag).

    bert_jax train --config=finetune_ner --config.data.train_file=train.conll \\
        --config.data.eval_file=dev.conll --config.init_from=DIR --workdir=runs/ner
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    return finetuning('ner')
