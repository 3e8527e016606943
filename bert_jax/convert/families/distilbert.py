"""DistilBERT (Sanh et al., 2019)."""

from bert_jax.convert.families.bert import embeddings
from bert_jax.convert.families.family import Family, classes, same_names
from bert_jax.convert.rules import decoder, linear, norm, scores

_OURS, _THEIRS = 'encoder/layers', 'distilbert.transformer.layer.{layer}'

DISTILBERT = Family(
    model_type='distilbert',
    prefix='distilbert.',
    rules=(
        *embeddings('distilbert.'),
        *linear(f'{_OURS}/attention/query_key_value', _THEIRS + '.attention.{p}_lin'),
        *linear(f'{_OURS}/attention/output', f'{_THEIRS}.attention.out_lin'),
        *norm(f'{_OURS}/attention_norm', f'{_THEIRS}.sa_layer_norm'),
        *linear(f'{_OURS}/intermediate', f'{_THEIRS}.ffn.lin1'),
        *linear(f'{_OURS}/output', f'{_THEIRS}.ffn.lin2'),
        *norm(f'{_OURS}/output_norm', f'{_THEIRS}.output_layer_norm'),
        *linear('pooler/dense', 'pre_classifier'),
        *linear('masked_lm_transform/dense', 'vocab_transform'),
        *norm('masked_lm_transform/layer_norm', 'vocab_layer_norm'),
        *decoder('vocab_projector'),
        *scores(),
    ),
    classes=classes('DistilBert'),
    keys={
        **same_names(
            'vocab_size', 'max_position_embeddings', 'initializer_range', 'tie_word_embeddings'
        ),
        'hidden_size': 'dim',
        'num_hidden_layers': 'n_layers',
        'num_attention_heads': 'n_heads',
        'intermediate_size': 'hidden_dim',
        'hidden_act': 'activation',
        'hidden_dropout_prob': 'dropout',
        'attention_probs_dropout_prob': 'attention_dropout',
        'classifier_dropout': 'seq_classif_dropout',
        'span_dropout': 'qa_dropout',
    },
)
