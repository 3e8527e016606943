"""ALBERT (Lan et al., 2020)."""

from bert_jax.convert.families.bert import KEYS, embeddings
from bert_jax.convert.families.family import Family, classes
from bert_jax.convert.rules import decoder, linear, norm, scores, transform

_OURS, _THEIRS = 'encoder/layers', 'albert.encoder.albert_layer_groups.0.albert_layers.0'

ALBERT = Family(
    model_type='albert',
    prefix='albert.',
    rules=(
        *embeddings('albert.'),
        *linear(
            'encoder/embeddings/embedding_hidden_mapping_in',
            'albert.encoder.embedding_hidden_mapping_in',
        ),
        *linear(f'{_OURS}/attention/query_key_value', _THEIRS + '.attention.{part}'),
        *linear(f'{_OURS}/attention/output', f'{_THEIRS}.attention.dense'),
        *norm(f'{_OURS}/attention_norm', f'{_THEIRS}.attention.LayerNorm'),
        *linear(f'{_OURS}/intermediate', f'{_THEIRS}.ffn'),
        *linear(f'{_OURS}/output', f'{_THEIRS}.ffn_output'),
        *norm(f'{_OURS}/output_norm', f'{_THEIRS}.full_layer_layer_norm'),
        *linear('pooler/dense', 'albert.pooler'),
        *transform('masked_lm_transform', 'predictions'),
        *decoder('predictions.decoder', bias='predictions.bias'),
        *linear('sentence_order', 'sop_classifier.classifier'),
        *scores(),
    ),
    classes=classes('Albert', ('pooler',))
    | {'AlbertForPreTraining': ('pooler', 'masked_lm', 'sentence_order')},
    keys=KEYS
    | {
        'embedding_size': 'embedding_size',
        'classifier_dropout': 'classifier_dropout_prob',
        'tagger_dropout': 'classifier_dropout_prob',
    },
    fixed={
        'position_embedding_type': ('absolute',),
        'num_hidden_groups': (1,),
        'inner_group_num': (1,),
    },
    special_ids={'pad_token_id': 0, 'bos_token_id': 2, 'eos_token_id': 3},
)
