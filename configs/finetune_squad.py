"""Fine-tunes a pretrained checkpoint on SQuAD 1.1 or 2.0.

    bert_jax train --config=finetune_squad \\
        --config.data.train_file=train-v1.1.json --config.data.eval_file=dev-v1.1.json \\
        --config.init_from=DIR --workdir=runs/squad

The workdir then has predictions.json and nbest_predictions.json, and for 2.0 null_odds.json.
"""

from ml_collections import ConfigDict

from bert_jax.config import finetuning


def get_config() -> ConfigDict:
    config = finetuning('squad')
    config.data.max_seq_length = 384
    return config
