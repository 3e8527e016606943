"""XLM (249M parameters; Conneau and Lample, 2019) for two languages: texts and translations.

    bert_jax train --config=xlm --workdir=runs/xlm \\
        --config.data.corpus='en=text:en/*.txt,fr=text:fr/*.txt' \\
        --config.data.parallel='en-fr=text:en-fr.tsv'

For several GPUs. A line of en-fr.tsv is a sentence, a tab and its translation. The shape is that of
the authors' model of 15 languages, the optimizer that of their code. It has not been run to its end
yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.models.presets import pretraining


def get_config() -> ConfigDict:
    config = pretraining('xlm-mlm-tlm-xnli15-1024')
    config.model.type_vocab_size = 2
    config.objective = 'mlm+tlm'
    config.data.tokenizer = 'xlm_bpe'
    config.optim.learning_rate = 1e-4
    config.optim.schedule = 'inverse_sqrt'
    config.optim.warmup_steps = 30_000
    config.optim.grad_clip_norm = 5.0
    config.train.phases = ((300_000, 256, 256, 39),)
    return config
