"""ELECTRA (Clark et al., 2020): the discriminator as an encoder, or the generator."""

from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families import bert
from bert_jax.convert.families.family import Family, classes
from bert_jax.convert.rules import decoder, linear, scores, transform


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    width = values.get('embedding_size', 128)
    return {'embedding_size': 0 if width == values['hidden_size'] else width}


def _write(model: ModelConfig) -> dict[str, Any]:
    return {'embedding_size': model.embedding_width}


ELECTRA = Family(
    model_type='electra',
    prefix='electra.',
    rules=(
        *bert.encoder('electra.'),
        *linear('encoder/embeddings/embedding_hidden_mapping_in', 'electra.embeddings_project'),
        *linear('pooler/dense', 'classifier.dense'),
        *transform('masked_lm_transform', 'generator_predictions'),
        *decoder('generator_lm_head'),
        *scores('classifier.out_proj'),
    ),
    classes=classes('Electra') | {'ElectraForPreTraining': ()},
    keys=bert.KEYS,
    read=_read,
    write=_write,
)
