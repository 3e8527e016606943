"""BERT large (340M parameters) for pods: batches of 4,096 sequences, with LAMB.

    bert_jax plan --config=large --topology=v5p-128
    CONFIG=configs/large.py ./launch/tpu_pod.sh watch NAME ... -- --workdir=gs://bucket/run \\
        --config.data.corpus=tokens:gs://bucket/tokens

Steps, rate and warm-up are those of You et al. (2020) for this batch; nine tenths of the steps at
128 tokens, the rest at 512. It has not been run to its end yet, so no result is promised.
"""

from ml_collections import ConfigDict

from bert_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.data.corpus = ''  # the built-in text is too small; name your own
    config.model.hidden_size = 1024
    config.model.num_hidden_layers = 24
    config.model.num_attention_heads = 16
    config.model.intermediate_size = 4096
    # Otherwise a TPU adds up the whole gradient of the token table on every device.
    config.data.pad_vocab_to_multiple_of = 256
    config.optim.name = 'lamb'
    config.optim.learning_rate = 5e-3 / 2**1.5
    config.optim.warmup_steps = 3_125
    config.train.phases = ((112_500, 128, 4_096, 20), (12_500, 512, 4_096, 77))
    config.mesh.fsdp = 8
    return config
