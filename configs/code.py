"""The first run: a very small BERT learns Python from the standard library's source.

    bert_jax train --config=code

Two CPU cores, about three minutes. It predicts 45 % of the masked tokens of held-out modules.
Counting which token most often stands between two neighbours predicts 42 %.
"""

from ml_collections import ConfigDict

from bert_jax.config import default

EXAMPLES = """
def __init__([MASK], name):
for i in [MASK](10):
if x is not [MASK]:
while [MASK]:
raise [MASK]('bad value')
except [MASK]:
from os import [MASK]
"""


def get_config() -> ConfigDict:
    config = default()
    config.data.corpus = 'builtin:code'
    config.data.sentences = 'line'
    config.data.holdout = 0.05  # the text is short, so 2 % would be too few documents
    config.data.examples = EXAMPLES
    config.model.vocab_size = 2048
    config.model.hidden_size = 128
    config.model.num_hidden_layers = 2
    config.model.num_attention_heads = 4
    config.model.intermediate_size = 512
    config.model.max_position_embeddings = 128
    config.model.initializer_range = 0.08  # BERT's 0.02 is for wider layers
    # A model this small underfits in such a short run, so dropout would only slow it down.
    config.model.hidden_dropout_prob = 0.0
    config.model.attention_probs_dropout_prob = 0.0
    config.optim.learning_rate = 3e-3
    config.optim.warmup_steps = 100
    config.train.phases = ((2000, 32, 64, 6),)
    config.train.log_every = 50
    config.train.eval_every = 400
    config.train.checkpoint_every = 1000
    return config
