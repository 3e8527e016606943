"""ModernBERT (Warner et al., 2024)."""

from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families.family import ACTIVATIONS, REQUIRED, Family, classes, same_names
from bert_jax.convert.rules import Rule, Rules, linear, norm, table

_OURS, _THEIRS = 'encoder/layers', 'model.layers.{layer}'
FULL, SLIDING = 'full_attention', 'sliding_attention'


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    activation = values.get('classifier_activation', 'gelu')
    if activation not in ACTIVATIONS:
        names = ', '.join(ACTIVATIONS)
        raise ValueError(f'classifier_activation is {activation!r}; expected {names}')
    dropout = values.get('classifier_dropout', 0.0)
    pooling = values.get('classifier_pooling', 'cls')
    if pooling not in ('cls', 'mean'):
        raise ValueError(f"classifier_pooling is {pooling!r}; expected 'cls' or 'mean'")
    return {
        'global_attn_every_n_layers': _every(values),
        **_rope(values),
        'masked_lm_act': ACTIVATIONS[activation],
        'summary_activation': ACTIVATIONS[activation],
        'summary_type': {'cls': 'first'}.get(pooling, pooling),
        **dict.fromkeys(('classifier_dropout', 'tagger_dropout', 'span_dropout'), dropout),
    }


def _every(values: Mapping[str, Any]) -> int:
    """The number n for which the layers 0, n, 2 n, ... have global attention."""
    every = values.get('global_attn_every_n_layers', 3)
    kinds = values.get('layer_types')
    if kinds is None:
        return int(every)
    for n in (every, *range(1, len(kinds) + 1)):
        if kinds == [SLIDING if i % n else FULL for i in range(len(kinds))]:
            return int(n)
    raise ValueError(
        f'layer_types is {kinds!r}; expected {FULL} in every n-th layer, from the first, and '
        f'{SLIDING} in the others'
    )


def _rope(values: Mapping[str, Any]) -> dict[str, float]:
    """The base of the rotary positions in each kind of layer."""
    if values.get('rope_scaling'):
        raise ValueError(f'rope_scaling is {values["rope_scaling"]!r}; expected null')
    kinds = values.get('rope_parameters') or {}
    thetas = {}
    for field, kind, default in (
        ('global_rope_theta', FULL, 160_000.0),
        ('local_rope_theta', SLIDING, 10_000.0),
    ):
        settings = kinds.get(kind) or {}
        if settings.get('rope_type', 'default') != 'default':
            raise ValueError(
                f"rope_parameters: rope_type is {settings['rope_type']!r}; bert_jax has 'default' "
                'only'
            )
        thetas[field] = settings.get('rope_theta', values.get(field) or default)
    return thetas


def _write(model: ModelConfig) -> dict[str, Any]:
    every = model.global_attn_every_n_layers
    return {
        'layer_types': [SLIDING if i % every else FULL for i in range(model.num_hidden_layers)],
        'global_attn_every_n_layers': every,
        'rope_parameters': {
            FULL: {'rope_type': 'default', 'rope_theta': model.global_rope_theta},
            SLIDING: {'rope_type': 'default', 'rope_theta': model.local_rope_theta},
        },
        'classifier_activation': model.summary_activation,
        'classifier_pooling': {'first': 'cls'}.get(model.summary_type, model.summary_type),
    }


def _transform(ours: str, head: str) -> Rules:
    """The dense layer and the normalization in front of a head's scores."""
    return (
        *linear(f'{ours}/dense', 'head.dense', only=head),
        *norm(f'{ours}/layer_norm', 'head.norm', only=head),
    )


MODERNBERT = Family(
    model_type='modernbert',
    prefix='model.',
    rules=(
        table('word_embeddings', 'model.embeddings.tok_embeddings'),
        *norm('encoder/embeddings/layer_norm', 'model.embeddings.norm'),
        *linear(f'{_OURS}/attention/query_key_value', f'{_THEIRS}.attn.Wqkv', packed=True),
        *linear(f'{_OURS}/attention/output', f'{_THEIRS}.attn.Wo'),
        *norm(f'{_OURS}/attention_norm', f'{_THEIRS}.mlp_norm'),
        *linear(f'{_OURS}/intermediate', f'{_THEIRS}.mlp.Wi'),
        *linear(f'{_OURS}/output', f'{_THEIRS}.mlp.Wo'),
        *norm(f'{_OURS}/output_norm', 'model.layers.{next}.attn_norm', last='model.final_norm'),
        *_transform('masked_lm_transform', 'masked_lm'),
        Rule('masked_lm_bias', 'decoder.bias'),
        Rule('masked_lm_decoder', 'decoder.weight'),
        *_transform('pooler', 'classifier'),
        *linear('classifier', 'classifier'),
        *_transform('tagger/before', 'tagger'),
        *linear('tagger', 'classifier'),
        *_transform('span/before', 'span'),
        *linear('span', 'classifier'),
    ),
    classes=classes('ModernBert'),
    keys={
        **same_names(*REQUIRED, 'max_position_embeddings', 'initializer_range', 'local_attention'),
        **same_names('norm_bias', 'attention_bias', 'mlp_bias', 'classifier_bias'),
        **same_names('tie_word_embeddings', 'classifier_dropout'),
        'hidden_act': 'hidden_activation',
        'layer_norm_eps': 'norm_eps',
        'tagger_dropout': 'classifier_dropout',
        'span_dropout': 'classifier_dropout',
    },
    missing={'span_dropout': 0.0},
    fixed={'decoder_bias': (True,)},
    # transformers reads norm_eps, not layer_norm_eps. Its ModernBERT always has rotary positions.
    inert=(
        'global_rope_theta',
        'layer_norm_eps',
        'local_rope_theta',
        'position_embedding_type',
        'rope_scaling',
    ),
    # Dropout in places where bert_jax has no dropout.
    in_training={'embedding_dropout': 0.0, 'attention_dropout': 0.0, 'mlp_dropout': 0.0},
    read=_read,
    write=_write,
    special_ids={'pad_token_id': 50283, 'bos_token_id': 50281, 'eos_token_id': 50282},
)
