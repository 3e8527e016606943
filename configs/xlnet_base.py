"""XLNet base (117M parameters; Yang et al., 2019): words in random orders, SentencePiece.

    bert_jax train --config=xlnet_base --workdir=runs/xlnet \\
        --config.data.corpus='text:books/*.txt'

For a TPU slice or several GPUs. A sixth of the tokens is predicted, in runs of up to 5 tokens. The
steps, the rate and the batch are those of the large model in zihangdai/xlnet. The published models
had a memory, which is off here: --config.model.mem_len=384 --config.model.reuse_len=256
--config.model.bi_data=True. It has not been run to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.models.presets import pretraining


def get_config() -> ConfigDict:
    config = pretraining('xlnet-base-cased')
    config.objective = 'plm'
    config.data.tokenizer = 'sentencepiece'
    config.data.lowercase = False
    config.data.masked_lm_prob = 1 / 6
    config.data.max_ngram = 5
    config.optim.learning_rate = 4e-4
    config.optim.end_learning_rate = 4e-7
    config.optim.warmup_steps = 40_000
    config.train.phases = ((500_000, 512, 2_048, 85),)
    return config
