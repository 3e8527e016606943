"""XLNet (Yang et al., 2019)."""

from collections.abc import Mapping
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.families.family import Family, classes, same_names
from bert_jax.convert.rules import Rule, decoder, linear, norm, scores, table

_OURS, _THEIRS = 'encoder/layers', 'transformer.layer.{layer}'


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
    return {'clamp_len': max(values.get('clamp_len') or 0, 0)}  # null and -1 mean no limit


def _write(model: ModelConfig) -> dict[str, Any]:
    return {
        'clamp_len': model.clamp_len or -1,
        'mem_len': model.mem_len or None,
        'reuse_len': model.reuse_len or None,
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
        *decoder('lm_loss'),
        *linear('pooler/dense', 'sequence_summary.summary'),
        *scores('logits_proj'),
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
        # transformers refuses to read max_position_embeddings. In published files, bi_data is
        # false even if it was true.
        'max_position_embeddings': 'bert_jax_longest_row',
        'bi_data': 'bert_jax_bi_data',
    },
    fixed={
        'attn_type': ('bi',),
        'bi_data': (False,),
        'same_length': (False,),
        'untie_r': (True,),
        'summary_type': ('last',),
        'summary_use_proj': (True,),
        'summary_activation': ('tanh',),
    },
    read=_read,
    write=_write,
    special_ids={'pad_token_id': 5, 'bos_token_id': 1, 'eos_token_id': 2},
)
