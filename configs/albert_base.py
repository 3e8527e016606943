"""ALBERT base (12M parameters; Lan et al., 2020): shared layers, the order of sentences, LAMB.

    bert_jax train --config=albert_base --workdir=runs/albert \\
        --config.data.corpus='text:books/*.txt'

For a TPU slice or several GPUs: a step computes as much as one of BERT base. Steps, rate and batch
are those of the paper, section 4.1. It has not been run to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.models.presets import pretraining


def get_config() -> ConfigDict:
    config = pretraining('albert-base')
    config.objective = 'mlm+sop'
    config.data.tokenizer = 'sentencepiece'
    config.data.max_ngram = 3
    config.optim.name = 'lamb'
    config.optim.learning_rate = 1.76e-3
    config.optim.warmup_steps = 3_125
    config.optim.bias_correction = False
    config.train.phases = ((125_000, 512, 4_096, 77),)
    return config
