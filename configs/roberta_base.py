"""RoBERTa base (125M parameters; Liu et al., 2019): masked words alone, byte-level BPE.

    bert_jax train --config=roberta_base --workdir=runs/roberta \\
        --config.data.corpus='text:books/*.txt'

For a TPU slice or several GPUs. Rows go on across the ends of documents, batches have 8,192 rows.
Rates and steps are those of the paper's table 9. Adam without clipping and with beta2 = 0.98 is
stable with large batches. It has not been run to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.models.presets import pretraining


def get_config() -> ConfigDict:
    config = pretraining('roberta-base')
    config.objective = 'mlm'
    config.data.tokenizer = 'byte_bpe'
    config.data.lowercase = False
    config.optim.learning_rate = 6e-4
    config.optim.warmup_steps = 24_000
    config.optim.beta2 = 0.98
    config.optim.grad_clip_norm = 0.0
    config.train.phases = ((500_000, 512, 8_192, 77),)
    return config
