"""The smallest BERT (2 layers of 128) on 490 Wikipedia articles: both curves in half an hour.

    bert_jax train --config=wiki \\
        --config.data.corpus='text:wikipedia_articles_en.txt.gz' --workdir=runs/wiki

Two CPU cores, 25 to 40 minutes: held-out MLM loss 6.0 nats (unigram entropy 6.8), next-sentence
accuracy 0.67; the curves are in wiki.png. Next-sentence accuracy stays at chance for the first
7,000 steps, and for longer with four layers.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.data.corpus = 'text:wikipedia_articles_en.txt.gz'
    config.data.holdout = 0.05
    config.model.vocab_size = 4096
    config.model.hidden_size = 128
    config.model.num_hidden_layers = 2
    config.model.num_attention_heads = 2
    config.model.intermediate_size = 512
    config.model.max_position_embeddings = 256
    config.model.initializer_range = 0.06  # BERT's 0.02 is for wider layers
    # A model this small underfits in such a short run, so dropout would only slow it down.
    config.model.hidden_dropout_prob = 0.0
    config.model.attention_probs_dropout_prob = 0.0
    config.optim.learning_rate = 1.5e-3
    config.optim.warmup_steps = 500
    config.train.phases = ((12_000, 128, 16, 20), (1000, 256, 8, 39))
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.checkpoint_every = 1000
    return config
