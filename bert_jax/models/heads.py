"""Heads on top of the encoder: the pooler, the pretraining heads and the task heads.

`HEADS` has an entry for each.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.config.model import ModelType
from bert_jax.models.encoder import Encoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, Transform, kernel_init
from bert_jax.models.parameters import parameter
from bert_jax.models.pooling import summarized
from bert_jax.models.xlnet import XLNet
from bert_jax.parallel.sharding import constrain

Outputs = dict[str, jax.Array]
DECODER = 'decoder'  # the entry of HEADS for the decoder of an encoder-decoder


class HeadInputs(NamedTuple):
    """The inputs of a head."""

    hidden: jax.Array  # the last hidden state, [batch, length, hidden]
    pooled: Any  # the pooler's output, [batch, hidden]; the first token without a pooler
    masked_lm_positions: jax.Array | None  # int32[batch, predictions]; None: every position
    attend: Callable[..., jax.Array]  # `Embeddings.attend`
    dropout: Callable[[jax.Array], jax.Array]


class Pooler(nn.Module):
    """The summary of a row: a token or the mean of all tokens, a dense layer and an activation."""

    config: ModelConfig
    part = 'pooler'

    @nn.compact
    def __call__(self, inputs: HeadInputs) -> Outputs:
        config, x = self.config, inputs.pooled
        if config.summary_dropout:
            x = inputs.dropout(x)
        if config.summary_use_proj:
            kind = (config.hidden_size, config.summary_activation, config.summary_norm)
            transform = Transform(config, *kind)
            nn.share_scope(self, transform)
            x = transform(x)
        return {'pooler_output': x}


class MaskedLM(nn.Module):
    """Scores of every word for each masked position (Devlin et al., 2019, section 3.1)."""

    config: ModelConfig
    part = 'masked_lm'

    def setup(self) -> None:
        config = self.config
        shape, axes = (config.vocab_size, config.embedding_width), ('vocab', 'embed')
        if config.masked_lm_transform:
            activation = config.masked_lm_act or config.hidden_act
            self.masked_lm_transform = Transform(config, config.embedding_width, activation)
        self.masked_lm_bias = parameter(
            self, 'masked_lm_bias', nn.initializers.zeros, shape[:1], axes[:1], 'bias'
        )
        if not config.tie_word_embeddings:
            self.masked_lm_decoder = parameter(
                self, 'masked_lm_decoder', kernel_init(config), shape, axes, 'table'
            )

    def __call__(self, inputs: HeadInputs) -> Outputs:
        masked, axis = inputs.hidden, 'length'
        if inputs.masked_lm_positions is not None:
            # Only masked positions get scores: the product with the vocabulary is most of the work.
            indices = inputs.masked_lm_positions[:, :, None]
            masked, axis = jnp.take_along_axis(masked, indices, axis=1), 'predictions'
        x = constrain(masked, 'batch', axis, 'hidden')
        if self.config.masked_lm_transform:
            x = self.masked_lm_transform(x)
        tied = self.config.tie_word_embeddings
        scores = inputs.attend(x, None if tied else self.masked_lm_decoder) + self.masked_lm_bias
        return {'prediction_logits': constrain(scores, 'batch', axis, 'vocab')}


class Scores(nn.Module):
    """A dense layer that computes float32 scores; in bfloat16 many scores would be equal.

    part: the name of its entry in `HEADS`, which says what it reads and what its outputs are.
    num_labels: the number of scores, if that entry does not fix it.
    """

    config: ModelConfig
    num_labels: int
    part: str

    def setup(self) -> None:
        head, config = HEADS[self.part], dataclasses.replace(self.config, dtype='float32')
        # Fine-tuned heads start as in Hugging Face Transformers, from a normal distribution that is
        # not truncated. Smaller values would pass smaller gradients to the encoder, which changes
        # the loss of the first hundred steps.
        normal = nn.initializers.normal(config.initializer_range)
        shape = ((head.num_scores or self.num_labels,), ('embed',), ('features',))
        self.dense = Dense(config, *shape, initializer=normal if head.fine_tuned else None)
        nn.share_scope(self, self.dense)  # the path of the parameters has no 'dense'
        self.transform = config.token_transform and self.part in ('tagger', 'span')
        if self.transform:
            self.before = Transform(self.config, config.hidden_size, config.summary_activation)

    def __call__(self, inputs: HeadInputs) -> Outputs:
        head = HEADS[self.part]
        x = head.reads(inputs)
        if self.transform:
            x = self.before(x)
        scores = self.dense(inputs.dropout(x) if head.fine_tuned else x)
        if len(head.outputs) == 1:
            return dict.fromkeys(head.outputs, scores)
        return {name: scores[..., i] for i, name in enumerate(head.outputs)}


@dataclasses.dataclass(frozen=True)
class Head:
    """An entry of `HEADS`.

    outputs: the names of the outputs, with logical axis names. module: makes the module, which maps
    HeadInputs to Outputs; None stands for `Scores`. fine_tuned: whether fine-tuning adds the head
    to the encoder. parameters: the names with which the paths of its parameters begin, if they are
    not in a scope of the head's name. dropout: the field of ModelConfig with the rate of dropout in
    front of the scores; '' means hidden_dropout_prob.

    Two fields are only for `Scores`. reads: returns the input of the dense layer. num_scores: the
    number of scores; 0 means one for each label. If there are several outputs, each is one of the
    scores.
    """

    outputs: Mapping[str, tuple[str, ...]]
    module: Callable[[ModelConfig], nn.Module] | None = None
    fine_tuned: bool = False
    parameters: tuple[str, ...] = ()
    dropout: str = ''
    reads: Callable[[HeadInputs], jax.Array] = lambda inputs: inputs.pooled
    num_scores: int = 0


# A head may read the outputs of the heads above it.
HEADS: Mapping[str, Head] = {
    'pooler': Head({'pooler_output': ('batch', 'hidden')}, Pooler),
    'masked_lm': Head(
        {'prediction_logits': ('batch', 'length', 'vocab')},
        MaskedLM,
        parameters=('masked_lm_transform', 'masked_lm_bias', 'masked_lm_decoder'),
    ),
    # "B follows A" (0) and "B is random" (1) (Devlin et al., 2019, section 3.1).
    'next_sentence': Head({'seq_relationship_logits': ('batch', 'features')}, num_scores=2),
    # "In the order of the text" (0) and "swapped" (1) (Lan et al., 2020, section 3.1).
    'sentence_order': Head(
        {'sentence_order_logits': ('batch', 'features')},
        reads=lambda inputs: inputs.dropout(inputs.pooled),
        num_scores=2,
        dropout='classifier_dropout',
    ),
    # The labels of a text, from the pooled first token.
    'classifier': Head(
        {'logits': ('batch', 'features')}, fine_tuned=True, dropout='classifier_dropout'
    ),
    # The labels of every token.
    'tagger': Head(
        {'logits': ('batch', 'length', 'features')},
        fine_tuned=True,
        reads=lambda inputs: inputs.hidden,
        dropout='tagger_dropout',
    ),
    # The scores of each token as the start and as the end of an answer.
    'span': Head(
        dict.fromkeys(('start_logits', 'end_logits'), ('batch', 'length')),
        fine_tuned=True,
        reads=lambda inputs: inputs.hidden,
        num_scores=2,
        dropout='span_dropout',
    ),
    # The decoder of `models.encoder_decoder`. The text that is written is not an output of this
    # head: the masked-LM head scores its tokens.
    DECODER: Head({}, fine_tuned=True),
}
PRETRAINING_HEADS = ('pooler', 'masked_lm', 'next_sentence')
TASK_HEADS = tuple(name for name, head in HEADS.items() if head.fine_tuned)
_HEAD_OF = {first: name for name, head in HEADS.items() for first in head.parameters or (name,)}


def head_of(path: str) -> str:
    """The head that a parameter's path belongs to, or 'encoder'."""
    return _HEAD_OF.get(path.split('/')[0], 'encoder')


def heads_in(paths: Iterable[str]) -> tuple[str, ...]:
    """The heads that have parameters among `paths`, in the order of `HEADS`."""
    present = {head_of(path) for path in paths}
    return tuple(name for name in HEADS if name in present)


# Encoders by `ModelConfig.model_type`.
MODELS: Mapping[str, type[Encoder]] = dict.fromkeys(get_args(ModelType), Encoder) | {'xlnet': XLNet}


class HeadedEncoder(nn.Module):
    """The encoder with some of `HEADS`. num_labels: the labels of the classifier or the tagger.
    frozen_layers: see `Encoder`."""

    config: ModelConfig
    heads: tuple[str, ...] = PRETRAINING_HEADS
    num_labels: int = 0
    frozen_layers: int | None = None

    def setup(self) -> None:
        config = self.config
        self.encoder = MODELS[config.model_type](config, self.frozen_layers)
        for name in self.heads:
            module = HEADS[name].module
            head = module(config) if module else Scores(config, self.num_labels, name)
            setattr(self, name, head)
            if HEADS[name].parameters:
                nn.share_scope(self, head)
        # The first of the heads that has a rate of its own decides.
        fields = [HEADS[name].dropout for name in self.heads if HEADS[name].dropout]
        rate = getattr(config, fields[0]) if fields else -1
        self.dropout = Dropout(rate if rate >= 0 else config.hidden_dropout_prob)

    def __call__(
        self,
        inputs: EncoderInputs,
        masked_lm_positions: jax.Array | None = None,
        deterministic: bool = True,
    ) -> Outputs:
        """Returns last_hidden_state [batch, length, hidden] and the outputs of the heads.

        masked_lm_positions: int32[batch, predictions], the positions that receive scores, so that
        prediction_logits are [batch, predictions, vocab]; None means every position. All scores are
        float32. `HEADS` lists the axes of the other outputs. With `inputs.targets`, the hidden
        states and the scores are those of the targets.
        """
        hidden = self.encoder(inputs, deterministic)
        if inputs.targets is not None:
            masked_lm_positions = None
        summary = summarized(self.config, hidden, inputs.segment_ids)
        outputs: dict[str, Any] = {'last_hidden_state': hidden}
        for name in HEADS:
            if name in self.heads:
                head_inputs = HeadInputs(
                    hidden,
                    outputs.get('pooler_output', summary),
                    masked_lm_positions,
                    self.encoder.embeddings.attend,
                    lambda x: self.dropout(x, deterministic),
                )
                outputs |= getattr(self, name)(head_inputs)
        return outputs
