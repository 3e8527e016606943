"""Fine-tunes a pretrained checkpoint on SQuAD 1.1 or 2.0.

    python -m bert_jax.main --config=configs/finetune_squad.py \\
        --config.data.train_file=train-v1.1.json --config.data.eval_file=dev-v1.1.json \\
        --config.init_from=DIR --workdir=runs/squad

The workdir then has predictions.json and nbest_predictions.json, for 2.0 null_odds.json too.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.data.task = 'squad'
    config.data.max_seq_length = 384
    config.data.doc_stride = 128
    config.optim.learning_rate = 5e-5
    config.optim.warmup_steps = 0  # a tenth of the steps: optim.warmup_fraction
    config.model.scan_unroll = 1  # a program for each length: rolled, it compiles much sooner
    config.train.batch_size = 32
    config.train.epochs = 3.0
    config.train.keep = 1
    return config
