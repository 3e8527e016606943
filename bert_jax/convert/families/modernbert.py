"""ModernBERT (Warner et al., 2024)."""

from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families.family import ACTIVATIONS, REQUIRED, Family, classes, same_names
from bert_jax.convert.rules import decoder, linear, norm, scores, table, transform

_OURS, _THEIRS = 'encoder/layers', 'model.layers.{layer}'
FULL, SLIDING = 'full_attention', 'sliding_attention'


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    act = ACTIVATIONS[values.get('classifier_activation') or 'gelu']
    return {
        'global_attn_every_n_layers': _every(values),
        **_thetas(values.get('rope_parameters') or {}),
        'masked_lm_act': act,
        'summary_activation': act,
        'summary_type': 'mean' if values.get('classifier_pooling') == 'mean' else 'first',
    }


def _every(values: Mapping[str, Any]) -> int:
    """The number n for which the layers 0, n, 2 n, ... have global attention."""
    every: int = values.get('global_attn_every_n_layers', 3)
    kinds = values.get('layer_types')
    if kinds is None:
        return every
    for n in (every, *range(1, len(kinds) + 1)):
        if kinds == [SLIDING if i % n else FULL for i in range(len(kinds))]:
            return n
    raise ValueError(
        f'layer_types is {kinds!r}; expected {FULL} in every n-th layer, from the first, and '
        f'{SLIDING} in the others'
    )


def _thetas(kinds: Mapping[str, Any]) -> dict[str, float]:
    """The bases of the rotary positions in `rope_parameters`, which replace the older keys."""
    thetas = {}
    for field, kind in (('global_rope_theta', FULL), ('local_rope_theta', SLIDING)):
        settings = kinds.get(kind) or {}
        if settings.get('rope_type', 'default') != 'default':
            raise ValueError(
                f"rope_parameters: rope_type is {settings['rope_type']!r}; bert_jax has 'default' "
                'only'
            )
        if 'rope_theta' in settings:
            thetas[field] = settings['rope_theta']
    return thetas


def _write(model: ModelConfig) -> dict[str, Any]:
    return {
        'classifier_activation': model.summary_activation,
        'classifier_pooling': {'first': 'cls'}.get(model.summary_type, model.summary_type),
    }


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
        *transform('masked_lm_transform', 'head', 'norm', only='masked_lm'),
        *transform('pooler', 'head', 'norm', only='classifier'),
        *transform('tagger/before', 'head', 'norm', only='tagger'),
        *transform('span/before', 'head', 'norm', only='span'),
        *decoder('decoder'),
        *scores(span='classifier'),
    ),
    classes=classes('ModernBert'),
    keys={
        **same_names(*REQUIRED, 'max_position_embeddings', 'initializer_range', 'local_attention'),
        **same_names('norm_bias', 'attention_bias', 'mlp_bias', 'classifier_bias'),
        **same_names('global_attn_every_n_layers', 'global_rope_theta', 'local_rope_theta'),
        **same_names('tie_word_embeddings', 'classifier_dropout'),
        'hidden_act': 'hidden_activation',
        'layer_norm_eps': 'norm_eps',
        'tagger_dropout': 'classifier_dropout',
        'span_dropout': 'classifier_dropout',
    },
    fixed={
        'decoder_bias': (True,),
        'classifier_activation': tuple(ACTIVATIONS),
        'classifier_pooling': ('cls', 'mean'),
        'rope_scaling': (),
    },
    read=_read,
    write=_write,
    special_ids={'pad_token_id': 50283, 'bos_token_id': 50281, 'eos_token_id': 50282},
)
