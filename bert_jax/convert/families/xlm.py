"""XLM (Conneau and Lample, 2019) and FlauBERT (Le et al., 2020), which differ in their config.json.

Language embeddings are bert_jax's embeddings of token types: a batch has language ids in
`token_type_ids`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families.family import Family, classes, same_names
from bert_jax.convert.rules import decoder, linear, norm, scores, table

_OURS = 'encoder/layers'


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    languages = values.get('n_langs', 1) if values.get('use_lang_emb', True) else 1
    return {
        'intermediate_size': 4 * values['emb_dim'],
        'hidden_act': 'gelu' if values.get('gelu_activation', True) else 'relu',
        'type_vocab_size': languages if languages > 1 else 0,
        'languages': ','.join(_names(values)),
    }


def _names(values: Mapping[str, Any]) -> list[str]:
    """The languages of lang2id, or of id2lang, in the order of their numbers. Raises ValueError
    unless the numbers are 0, 1, 2, ... and the names are not empty and have no comma."""
    ids = values.get('lang2id') or {}
    key = 'lang2id' if ids or not values.get('id2lang') else 'id2lang'
    if key == 'id2lang':
        ids = {name: int(i) for i, name in values['id2lang'].items()}
    names = sorted(ids, key=ids.__getitem__)
    complete = [ids[name] for name in names] == list(range(len(names)))
    if not complete or any(',' in name or not name for name in names):
        raise ValueError(f'{key} is {values[key]!r}; expected the numbers 0, 1, ... of names')
    return names


def _write(model: ModelConfig) -> dict[str, Any]:
    names = model.language_names
    embedded = model.type_vocab_size > 1 or len(names) < 2
    values: dict[str, Any] = {
        'gelu_activation': model.hidden_act == 'gelu',
        'n_langs': max(model.type_vocab_size if embedded else len(names), 1),
        'use_lang_emb': embedded,
    }
    if names:
        values['lang2id'] = {name: i for i, name in enumerate(names)}
        values['id2lang'] = {str(i): name for i, name in enumerate(names)}
    return values


XLM = Family(
    model_type='xlm',
    prefix='transformer.',
    rules=(
        table('word_embeddings', 'transformer.embeddings'),
        table('position_embeddings', 'transformer.position_embeddings'),
        table('token_type_embeddings', 'transformer.lang_embeddings'),
        *norm('encoder/embeddings/layer_norm', 'transformer.layer_norm_emb'),
        *linear(f'{_OURS}/attention/query_key_value', 'transformer.attentions.{layer}.{p}_lin'),
        *linear(f'{_OURS}/attention/output', 'transformer.attentions.{layer}.out_lin'),
        *norm(f'{_OURS}/attention_norm', 'transformer.layer_norm1.{layer}'),
        *linear(f'{_OURS}/intermediate', 'transformer.ffns.{layer}.lin1'),
        *linear(f'{_OURS}/output', 'transformer.ffns.{layer}.lin2'),
        *norm(f'{_OURS}/output_norm', 'transformer.layer_norm2.{layer}'),
        *decoder('pred_layer.proj'),
        *scores('sequence_summary.summary'),
    ),
    classes=classes(
        'XLM',
        classifier=('classifier',),
        masked_lm='WithLMHeadModel',
        span='ForQuestionAnsweringSimple',
    ),
    keys={
        **same_names(
            'vocab_size', 'max_position_embeddings', 'layer_norm_eps', 'tie_word_embeddings'
        ),
        'hidden_size': 'emb_dim',
        'num_hidden_layers': 'n_layers',
        'num_attention_heads': 'n_heads',
        'hidden_dropout_prob': 'dropout',
        'attention_probs_dropout_prob': 'attention_dropout',
        'initializer_range': 'init_std',
        'classifier_dropout': 'summary_first_dropout',
    },
    fixed={
        'causal': (False,),
        'asm': (False,),
        'is_encoder': (True,),
        'summary_type': ('first',),
        'summary_use_proj': (True,),
        'summary_proj_to_labels': (True,),
        'summary_activation': (),
    },
    read=_read,
    write=_write,
    special_ids={'bos_token_id': 0, 'eos_token_id': 1, 'pad_token_id': 2},
)
FLAUBERT = dataclasses.replace(
    XLM,
    model_type='flaubert',
    classes={name.replace('XLM', 'Flaubert'): heads for name, heads in XLM.classes.items()},
    keys={**XLM.keys, 'pre_norm': 'pre_norm', 'layerdrop': 'layerdrop'},
    missing={'layer_norm_eps': 1e-12},
)
