"""The published models by name. The defaults of `ModelConfig` are those of bert-base."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from bert_jax.config import ModelConfig, default


def _sizes(hidden: int, layers: int, heads: int, intermediate: int = 0) -> dict[str, Any]:
    """The sizes of a model. By default, intermediate_size is four times hidden_size."""
    return {
        'hidden_size': hidden,
        'num_hidden_layers': layers,
        'num_attention_heads': heads,
        'intermediate_size': intermediate or 4 * hidden,
    }


_LARGE = _sizes(1024, 24, 16)
_ROBERTA = ModelConfig(
    model_type='roberta',
    vocab_size=50265,
    max_position_embeddings=514,
    position_offset=2,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    masked_lm_act='gelu',
    summary_dropout=True,
)
_XLM_ROBERTA = dataclasses.replace(_ROBERTA, model_type='xlm-roberta', vocab_size=250002)
_CAMEMBERT = dataclasses.replace(_ROBERTA, model_type='camembert', vocab_size=32005)
_ELECTRA = ModelConfig(
    model_type='electra',
    masked_lm_act='gelu',
    summary_dropout=True,
    summary_activation='gelu',
)
_DISTILBERT = ModelConfig(
    model_type='distilbert',
    num_hidden_layers=6,
    type_vocab_size=0,
    attention_output_dropout=False,
    summary_activation='relu',
    classifier_dropout=0.2,
    span_dropout=0.1,
)
_ALBERT = ModelConfig(
    model_type='albert',
    vocab_size=30000,
    embedding_size=128,
    share_layers=True,
    hidden_act='gelu_new',
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    classifier_dropout=0.1,
    tagger_dropout=0.1,
)
_XLM = ModelConfig(
    model_type='xlm',
    vocab_size=30145,
    **_sizes(2048, 12, 16),
    type_vocab_size=0,
    masked_lm_transform=False,
    summary_use_proj=False,
    classifier_dropout=0.1,
)
_FLAUBERT = dataclasses.replace(
    _XLM, model_type='flaubert', vocab_size=68729, **_sizes(768, 12, 12), layer_norm_eps=1e-6
)
_MODERNBERT = ModelConfig(
    model_type='modernbert',
    vocab_size=50368,
    **_sizes(768, 22, 12, 1152),
    max_position_embeddings=8192,
    type_vocab_size=0,
    layer_norm_eps=1e-5,
    position_embedding_type='rotary',
    pre_norm=True,
    final_norm=True,
    gated_mlp=True,
    attention_bias=False,
    mlp_bias=False,
    norm_bias=False,
    classifier_bias=False,
    local_attention=128,
    masked_lm_act='gelu',
    summary_type='mean',
    summary_activation='gelu',
    summary_norm=True,
    token_transform=True,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    classifier_dropout=0.0,
    tagger_dropout=0.0,
)
_XLNET = ModelConfig(
    model_type='xlnet',
    vocab_size=32000,
    type_vocab_size=4,
    position_embedding_type='relative',
    attention_bias=False,
    masked_lm_transform=False,
    summary_type='last',
    classifier_dropout=0.1,
    tagger_dropout=0.0,
)
PRESETS: Mapping[str, ModelConfig] = {
    'bert-tiny': ModelConfig(**_sizes(128, 2, 2)),
    'bert-base': ModelConfig(),
    'bert-large': ModelConfig(**_LARGE),
    'roberta-base': _ROBERTA,
    'roberta-large': dataclasses.replace(_ROBERTA, **_LARGE),
    'xlm-roberta-base': _XLM_ROBERTA,
    'xlm-roberta-large': dataclasses.replace(_XLM_ROBERTA, **_LARGE),
    'camembert-base': _CAMEMBERT,
    'camembert-large': dataclasses.replace(_CAMEMBERT, **_LARGE),
    'electra-small': dataclasses.replace(_ELECTRA, **_sizes(256, 12, 4), embedding_size=128),
    'electra-base': _ELECTRA,
    'electra-large': dataclasses.replace(_ELECTRA, **_LARGE),
    'distilbert-base': _DISTILBERT,
    'albert-base': _ALBERT,
    'albert-large': dataclasses.replace(_ALBERT, **_LARGE),
    'albert-xlarge': dataclasses.replace(_ALBERT, **_sizes(2048, 24, 16)),
    'albert-xxlarge': dataclasses.replace(_ALBERT, **_sizes(4096, 12, 64)),
    'xlm-mlm-en-2048': _XLM,
    'xlm-mlm-tlm-xnli15-1024': dataclasses.replace(
        _XLM, vocab_size=95000, **_sizes(1024, 12, 8), type_vocab_size=15
    ),
    'flaubert-base': _FLAUBERT,
    'flaubert-large': dataclasses.replace(_FLAUBERT, **_LARGE, pre_norm=True, layerdrop=0.2),
    'modernbert-base': _MODERNBERT,
    'modernbert-large': dataclasses.replace(_MODERNBERT, **_sizes(1024, 28, 16, 2624)),
    'xlnet-base-cased': _XLNET,
    'xlnet-large-cased': dataclasses.replace(_XLNET, **_LARGE),
}


def pretraining(name: str) -> ConfigDict:
    """The default configuration with the model of a preset, for `configs/` and flags to change.

    It has no corpus, because the built-in texts are too small for these models.
    """
    config = default()
    config.model.update(dataclasses.asdict(PRESETS[name]))
    config.data.corpus = ''
    return config
