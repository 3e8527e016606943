"""ELECTRA (Clark et al., 2020): the discriminator as an encoder, or the generator."""

from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families import bert
from bert_jax.convert.families.family import Family, classes
from bert_jax.convert.rules import Rule, linear, norm


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
        *linear('masked_lm_transform/dense', 'generator_predictions.dense'),
        *norm('masked_lm_transform/layer_norm', 'generator_predictions.LayerNorm'),
        Rule('masked_lm_bias', 'generator_lm_head.bias'),
        Rule('masked_lm_decoder', 'generator_lm_head.weight'),
        *linear('classifier', 'classifier.out_proj'),
        *linear('tagger', 'classifier'),
        *linear('span', 'qa_outputs'),
    ),
    classes=classes('Electra') | {'ElectraForPreTraining': ()},
    keys=bert.KEYS,
    fixed={'position_embedding_type': ('absolute',)},
    # Settings of the head for multiple choice.
    inert=('summary_activation', 'summary_last_dropout', 'summary_type', 'summary_use_proj'),
    read=_read,
    write=_write,
    special_ids={'pad_token_id': 0},
)
