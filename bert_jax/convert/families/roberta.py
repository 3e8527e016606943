"""RoBERTa (Liu et al., 2019), XLM-RoBERTa (Conneau et al., 2020) and CamemBERT (Martin et al.,
2020), which differ in their tokenizers and in the names of their classes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families import bert
from bert_jax.convert.families.family import Family, classes
from bert_jax.convert.rules import decoder, linear, scores, transform


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    pad = values.get('pad_token_id', 1)
    if not isinstance(pad, int) or pad < 0:
        raise ValueError(f'pad_token_id is {pad!r}; expected an id, which sets the first position')
    return {'position_offset': pad + 1}


def _write(model: ModelConfig) -> dict[str, Any]:
    return {'pad_token_id': model.position_offset - 1} if model.position_offset else {}


ROBERTA = Family(
    model_type='roberta',
    prefix='roberta.',
    rules=(
        *bert.encoder('roberta.'),
        *linear('pooler/dense', 'roberta.pooler.dense'),
        *linear('pooler/dense', 'classifier.dense', only='classifier'),
        *transform('masked_lm_transform', 'lm_head', 'layer_norm'),
        *decoder('lm_head.decoder', bias='lm_head.bias'),
        *scores('classifier.out_proj'),
    ),
    classes=classes('Roberta', ('pooler',)),
    keys=bert.KEYS,
    missing={'max_position_embeddings': 512, 'type_vocab_size': 2, 'layer_norm_eps': 1e-12},
    read=_read,
    write=_write,
    special_ids={'bos_token_id': 0, 'eos_token_id': 2},
)
XLM_ROBERTA = dataclasses.replace(
    ROBERTA, model_type='xlm-roberta', classes=classes('XLMRoberta', ('pooler',))
)
CAMEMBERT = dataclasses.replace(
    ROBERTA, model_type='camembert', classes=classes('Camembert', ('pooler',))
)
