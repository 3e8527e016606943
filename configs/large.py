"""BERT large (340M parameters) as published.

python -m bert_jax.main --config=configs/large.py --workdir=gs://bucket/run

For a TPU pod. Has not been run to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.model.hidden_size = 1024
    config.model.num_hidden_layers = 24
    config.model.num_attention_heads = 16
    config.model.intermediate_size = 4096
    config.mesh.fsdp = 8
    return config
