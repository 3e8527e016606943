"""DistilBERT (66M parameters; Sanh et al., 2019): six layers that learn from a BERT.

    bert_jax train --config=distilbert --workdir=runs/distilbert \\
        --config.distill.teacher=bert-base-uncased --config.data.corpus='text:books/*.txt'

The teacher is a workdir, a converted folder or a folder of a Hugging Face checkpoint. The text is
split with its vocabulary. The student has neither token types nor a pooler, and starts from six
of the teacher's layers. The weights of the losses, the optimizer and the batch (4,000 rows by
accumulation) are those of the authors' code. There, scores are compared at all tokens
(--config.distill.positions=all); here, at the masked ones, which costs a sixth of the memory for
scores. For one GPU or a TPU. It has not been run to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.models.presets import pretraining


def get_config() -> ConfigDict:
    config = pretraining('distilbert-base')
    config.objective = 'distill'
    config.optim.learning_rate = 5e-4
    config.optim.warmup_steps = 1_000
    config.optim.beta2 = 0.98
    config.optim.weight_decay = 0.0
    config.optim.grad_clip_norm = 5.0
    config.train.phases = ((20_000, 512, 4_000, 77),)
    config.train.accum_steps = 50
    return config
