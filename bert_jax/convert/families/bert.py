"""BERT (Devlin et al., 2019)."""

from bert_jax.convert.families.family import REQUIRED, Family, classes, same_names
from bert_jax.convert.rules import Rules, decoder, linear, norm, scores, table, transform

HEADS: Rules = (
    *linear('pooler/dense', 'bert.pooler.dense'),
    *transform('masked_lm_transform', 'cls.predictions.transform'),
    *decoder('cls.predictions.decoder', bias='cls.predictions.bias'),
    *linear('next_sentence', 'cls.seq_relationship'),
    *scores(),
)


def embeddings(prefix: str) -> Rules:
    """The rules of embeddings whose modules have the names of transformers' BertModel.

    A family that lacks one of the tables does not use its rule.
    """
    names = ('word_embeddings', 'position_embeddings', 'token_type_embeddings')
    return (
        *(table(name, f'{prefix}embeddings.{name}') for name in names),
        *norm('encoder/embeddings/layer_norm', f'{prefix}embeddings.LayerNorm'),
    )


def encoder(prefix: str) -> Rules:
    """The rules of an encoder whose modules have the names of transformers' BertModel."""
    ours, theirs = 'encoder/layers', f'{prefix}encoder.layer.{{layer}}'
    return (
        *embeddings(prefix),
        *linear(f'{ours}/attention/query_key_value', f'{theirs}.attention.self.{{part}}'),
        *linear(f'{ours}/attention/output', f'{theirs}.attention.output.dense'),
        *norm(f'{ours}/attention_norm', f'{theirs}.attention.output.LayerNorm'),
        *linear(f'{ours}/intermediate', f'{theirs}.intermediate.dense'),
        *linear(f'{ours}/output', f'{theirs}.output.dense'),
        *norm(f'{ours}/output_norm', f'{theirs}.output.LayerNorm'),
    )


# Keys of BERT's config.json. One key holds the dropout of both the classifier and the tagger.
KEYS = {
    **same_names(*REQUIRED, 'hidden_act', 'hidden_dropout_prob', 'attention_probs_dropout_prob'),
    **same_names(
        'max_position_embeddings', 'type_vocab_size', 'initializer_range', 'layer_norm_eps'
    ),
    **same_names('tie_word_embeddings', 'classifier_dropout'),
    'tagger_dropout': 'classifier_dropout',
}
BERT = Family(
    model_type='bert',
    prefix='bert.',
    rules=(*encoder('bert.'), *HEADS),
    classes=classes('Bert', ('pooler',))
    | {
        'BertForNextSentencePrediction': ('pooler', 'next_sentence'),
        'BertForPreTraining': ('pooler', 'masked_lm', 'next_sentence'),
    },
    keys=KEYS,
)
