"""The configuration of the model, `config.model`."""

import dataclasses
from typing import Literal

from bert_jax.config.fields import (
    Count,
    DropoutRate,
    Fact,
    NotNegative,
    Positive,
    PositiveFloat,
    Rate,
    VocabSize,
    setting,
)

# The families of models; `convert.families` has an entry for each.
ModelType = Literal[
    'bert',
    'roberta',
    'xlm-roberta',
    'camembert',
    'electra',
    'distilbert',
    'albert',
    'xlm',
    'flaubert',
    'modernbert',
    'xlnet',
]
ARCHITECTURE, INHERITED, FREE, PRETRAINING, FINETUNING = Fact

# Rates that a configuration may leave to init_from, by the value INHERIT.
RATES = ('hidden_dropout_prob', 'attention_probs_dropout_prob', 'layerdrop')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The model. Fields have the names of config.json, where one of the families has a name."""

    vocab_size: VocabSize = setting(30522, ARCHITECTURE)  # a run uses its vocabulary's size
    hidden_size: Positive = setting(768, ARCHITECTURE)  # the width of a token's vector
    num_hidden_layers: Positive = setting(12, ARCHITECTURE)  # the number of layers
    num_attention_heads: Positive = setting(12, ARCHITECTURE)  # they divide hidden_size
    intermediate_size: Positive = setting(3072, ARCHITECTURE)  # width of the feed-forward net
    # 'gelu' is exact (erf); 'gelu_new' is the tanh approximation.
    hidden_act: Literal['gelu', 'gelu_new', 'relu'] = setting('gelu', ARCHITECTURE)
    # Dropout after embeddings, attention and MLP. In a configuration, -1 is the rate of init_from,
    # and 0.1 without init_from.
    hidden_dropout_prob: DropoutRate = setting(0.1, INHERITED)
    # Dropout of attention probabilities; it needs attention='dense'. -1: see hidden_dropout_prob.
    attention_probs_dropout_prob: DropoutRate = setting(0.1, INHERITED)
    # The number of rows in the table of positions. A row has at most this many tokens, less
    # position_offset.
    max_position_embeddings: Positive = setting(512, ARCHITECTURE)
    type_vocab_size: Count = setting(2, ARCHITECTURE)  # token types or languages; 0: no table
    initializer_range: NotNegative = setting(0.02, ARCHITECTURE)  # standard deviation
    layer_norm_eps: NotNegative = setting(1e-12, ARCHITECTURE)  # added to the variance
    model_type: ModelType = setting('bert', ARCHITECTURE)  # the family of the model

    # The layout of the model's rows, which is their special tokens and token types. It is named
    # after the family that has it; '' is the layout of model_type. A published model may have the
    # vocabulary, and so the layout, of another family. 'xlm-bos': that of XLM with <s> in front.
    row_format: Literal['', 'bert', 'distilbert', 'roberta', 'xlm-bos'] = setting('', INHERITED)

    # The width of the embedding tables, from which a matrix maps to hidden_size (Lan et al., 2020,
    # section 3.1). 0: the tables have the width hidden_size, and there is no matrix.
    embedding_size: Count = setting(0, ARCHITECTURE)
    # One layer with one set of parameters is applied num_hidden_layers times, as in ALBERT.
    share_layers: bool = setting(False, ARCHITECTURE)
    # 'absolute' is a learned table. 'sinusoidal' (Vaswani et al., 2017) and 'rotary' (Su et al.,
    # 2021) have no parameters. 'relative' is XLNet's attention to distances; then
    # max_position_embeddings is only the number of tokens in the longest row.
    position_embedding_type: Literal['absolute', 'sinusoidal', 'rotary', 'relative', 'none'] = (
        setting('absolute', ARCHITECTURE)
    )
    # The number of rows at the start of the table of positions that no token uses, as in RoBERTa.
    position_offset: Count = setting(0, ARCHITECTURE)
    # Normalization in front of attention and of the feed-forward network, not after them.
    pre_norm: bool = setting(False, ARCHITECTURE)
    # With pre_norm: the output is normalized, and the first layer's input is not, because the
    # embeddings are normalized already.
    final_norm: bool = setting(False, ARCHITECTURE)
    gated_mlp: bool = setting(False, ARCHITECTURE)  # the activation times a second projection
    attention_bias: bool = setting(True, ARCHITECTURE)  # whether attention has biases
    mlp_bias: bool = setting(True, ARCHITECTURE)  # whether the feed-forward network has biases
    norm_bias: bool = setting(True, ARCHITECTURE)  # whether layer norms have biases
    # If local_attention is not 0, tokens attend to the local_attention / 2 tokens on each side,
    # except in layers 0, n, 2 n, ... with n = global_attn_every_n_layers.
    local_attention: Count = setting(0, ARCHITECTURE)
    global_attn_every_n_layers: Positive = setting(3, ARCHITECTURE)  # see local_attention
    global_rope_theta: PositiveFloat = setting(160_000.0, ARCHITECTURE)  # for rotary positions
    # For rotary positions in layers with local attention.
    local_rope_theta: PositiveFloat = setting(10_000.0, ARCHITECTURE)
    # For relative positions: larger distances are treated as this distance. 0 sets no limit.
    clamp_len: Count = setting(0, ARCHITECTURE)
    # Objective 'plm': the size of the memory, which is the number of hidden states of earlier rows
    # that each layer attends to (Dai et al., 2019). 0: no memory.
    mem_len: Count = setting(0, PRETRAINING, 'plm')
    # With mem_len: how many hidden states at the start of each row are added to the memory. The
    # next row begins this many tokens later.
    reuse_len: Count = setting(0, PRETRAINING, 'plm')
    # Objective 'plm': half of the rows run backwards.
    bi_data: bool = setting(False, PRETRAINING, 'plm')
    # The names of the languages, by their numbers: 'en,fr'. A run takes those of init_from or of
    # data.corpus; only XLM has embeddings of them.
    languages: str = setting('', INHERITED, FREE)
    # The probability that a layer is skipped in training (Fan et al., 2020). In a configuration, -1
    # is the rate of init_from, and 0 without init_from.
    layerdrop: Rate = setting(0.0, INHERITED)
    # If true, the output of attention has dropout.
    attention_output_dropout: bool = setting(True, INHERITED)

    # The dense layer, activation and normalization in front of the masked-LM decoder.
    masked_lm_transform: bool = setting(True, ARCHITECTURE)
    masked_lm_act: Literal['', 'gelu', 'gelu_new', 'relu'] = setting('', ARCHITECTURE)  # '': as act
    # If true, the dense layers of heads have biases.
    classifier_bias: bool = setting(True, ARCHITECTURE)
    # The summary of a row that is classified: the first or the last token or the mean of all
    # tokens, [dropout,] a dense layer with an activation [and a normalization]. The pooler computes
    # it.
    summary_type: Literal['first', 'last', 'mean'] = setting('first', ARCHITECTURE)
    summary_use_proj: bool = setting(True, ARCHITECTURE)  # if true, it has the dense layer
    # The activation of that dense layer.
    summary_activation: Literal['tanh', 'gelu', 'relu'] = setting('tanh', ARCHITECTURE)
    summary_norm: bool = setting(False, ARCHITECTURE)  # whether a normalization follows it
    summary_dropout: bool = setting(False, ARCHITECTURE)  # whether dropout precedes it
    token_transform: bool = setting(False, ARCHITECTURE)  # the same layers for taggers and spans
    # Dropout in front of the scores of a classifier. -1: hidden_dropout_prob.
    classifier_dropout: Rate = setting(-1.0, INHERITED)
    tagger_dropout: Rate = setting(-1.0, INHERITED)  # in front of the scores of a tagger
    # Dropout in front of the scores of question answering. -1: hidden_dropout_prob.
    span_dropout: Rate = setting(0.0, INHERITED)
    # Task 'translate': the number of layers of the decoder; 0: as many as the encoder has.
    decoder_layers: Count = setting(0, FINETUNING, 'translate')
    # Task 'translate': which parameters the decoder shares with the encoder. It never shares those
    # of its attention to the source.
    decoder_shares: Literal['nothing', 'embeddings', 'everything'] = setting(
        'nothing', FINETUNING, 'translate'
    )
    # If true, the masked-LM decoder uses the table of word embeddings.
    tie_word_embeddings: bool = setting(True, PRETRAINING)
    dtype: Literal['auto', 'float32', 'bfloat16'] = 'auto'  # computation; 'auto': float32 on CPU
    # 'flash' is the device's own kernel; it has no dropout of attention probabilities.
    attention: Literal['dense', 'flash'] = setting('dense', FREE)
    # The activations that the backward pass recomputes: none, all except matrix products, or all.
    remat: Literal['none', 'dots', 'full'] = setting('none', FREE)
    # Layers per iteration of the scan over layers. 0 is all of them on CPU, 1 elsewhere.
    scan_unroll: Count = setting(0, FREE)

    @property
    def longest_row(self) -> int:
        """The number of tokens in the longest row."""
        return self.max_position_embeddings - self.position_offset

    @property
    def language_names(self) -> list[str]:
        """The names of the languages by their numbers; [] if they are not known."""
        return self.languages.split(',') if self.languages else []

    @property
    def embedding_width(self) -> int:
        """The width of the embedding tables and of the input of the masked-LM decoder."""
        return self.embedding_size or self.hidden_size

    @property
    def stacked_layers(self) -> int:
        """The number of layers that have parameters of their own."""
        return 1 if self.share_layers else self.num_hidden_layers

    @property
    def num_decoder_layers(self) -> int:
        """The number of layers of a decoder."""
        return self.decoder_layers or self.num_hidden_layers

    @property
    def has_types(self) -> bool:
        """True if batches have token types. They leave them out if the model has only one type."""
        return self.type_vocab_size > 1
