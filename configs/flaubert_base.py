"""FlauBERT base (138M parameters; Le et al., 2020) on French text.

    bert_jax train --config=flaubert_base --workdir=runs/flaubert \\
        --config.data.corpus='text:fr/*.txt.gz'

For several GPUs. Rate, warm-up and Adam are those of the authors' code. It has not been run to its
end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.models.presets import pretraining


def get_config() -> ConfigDict:
    config = pretraining('flaubert-base')
    config.objective = 'mlm'
    config.data.tokenizer = 'flaubert_bpe'
    config.data.language = 'fr'
    config.data.lowercase = False
    config.optim.learning_rate = 6e-4
    config.optim.schedule = 'inverse_sqrt'
    config.optim.warmup_steps = 24_000
    config.optim.beta2 = 0.98
    config.train.phases = ((250_000, 512, 4_096, 77),)
    return config
