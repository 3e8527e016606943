"""XLNet (Yang et al., 2019)."""

from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families.family import Family, classes, same_names
from bert_jax.convert.rules import Rule, linear, norm, table

_OURS, _THEIRS = 'encoder/layers', 'transformer.layer.{layer}'
_LONGEST = 'bert_jax_longest_row'  # transformers refuses to read max_position_embeddings
_BI_DATA = 'bert_jax_bi_data'  # in published files, bi_data is false even if it was true


def _attention(ours: str, theirs: str, **options: Any) -> Rule:
    """The rule of a parameter of relative attention, whose tensor has a dimension for the heads."""
    name = f'{_THEIRS}.rel_attn.{theirs}'
    return Rule(f'{_OURS}/attention/{ours}', name, whole=True, **options)


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    width, heads, head_dim = values['d_model'], values['n_head'], values.get('d_head')
    if head_dim is not None and head_dim * heads != width:
        raise ValueError(
            f'd_head is {head_dim}; bert_jax supports only d_model ({width}) / n_head ({heads})'
        )
    clamp = values.get('clamp_len') or -1
    return {
        'bi_data': values.get(_BI_DATA, False),
        'clamp_len': max(clamp, 0),
        'max_position_embeddings': values.get(_LONGEST, ModelConfig.max_position_embeddings),
    }


def _write(model: ModelConfig) -> dict[str, Any]:
    return {
        'clamp_len': model.clamp_len or -1,
        'mem_len': model.mem_len or None,
        'reuse_len': model.reuse_len or None,
        _LONGEST: model.max_position_embeddings,
        **({_BI_DATA: True} if model.bi_data else {}),
    }


XLNET = Family(
    model_type='xlnet',
    prefix='transformer.',
    rules=(
        table('word_embeddings', 'transformer.word_embedding'),
        Rule('encoder/embeddings/mask_embedding', 'transformer.mask_emb', leading=2),
        _attention('query/kernel', 'q'),
        _attention('key_value/kernel', '{p}'),
        _attention('relative/kernel', 'r'),
        _attention('output/kernel', 'o', flipped=True),
        _attention('content_bias', 'r_w_bias'),
        _attention('position_bias', 'r_r_bias'),
        _attention('segment_bias', 'r_s_bias'),
        _attention('segment', 'seg_embed'),
        *norm(f'{_OURS}/attention_norm', f'{_THEIRS}.rel_attn.layer_norm'),
        *linear(f'{_OURS}/intermediate', f'{_THEIRS}.ff.layer_1'),
        *linear(f'{_OURS}/output', f'{_THEIRS}.ff.layer_2'),
        *norm(f'{_OURS}/output_norm', f'{_THEIRS}.ff.layer_norm'),
        Rule('masked_lm_bias', 'lm_loss.bias'),
        Rule('masked_lm_decoder', 'lm_loss.weight'),
        *linear('pooler/dense', 'sequence_summary.summary'),
        *linear('classifier', 'logits_proj'),
        *linear('tagger', 'classifier'),
        *linear('span', 'qa_outputs'),
    ),
    classes=classes('XLNet', masked_lm='LMHeadModel', span='ForQuestionAnsweringSimple'),
    keys={
        **same_names('vocab_size', 'initializer_range', 'layer_norm_eps', 'tie_word_embeddings'),
        'hidden_size': 'd_model',
        'num_hidden_layers': 'n_layer',
        'num_attention_heads': 'n_head',
        'intermediate_size': 'd_inner',
        'hidden_act': 'ff_activation',
        'attention_probs_dropout_prob': 'dropout',
        'hidden_dropout_prob': 'dropout',
        'classifier_dropout': 'summary_last_dropout',
    },
    aliases={'n_token': 'vocab_size'},
    fixed={
        'attn_type': ('bi',),
        'bi_data': (False,),
        'same_length': (False,),
        'untie_r': (True,),
        'summary_type': ('last',),
        'summary_use_proj': (True,),
        'summary_activation': ('tanh',),
    },
    inert=(
        'd_head',
        'init',
        'init_range',
        'initializer',
        'max_position_embeddings',
        'position_embedding_type',
        'use_mems_eval',
        'use_mems_train',
    ),
    read=_read,
    write=_write,
    special_ids={'pad_token_id': 5, 'bos_token_id': 1, 'eos_token_id': 2},
)
