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

    reads: returns the input of the layer. outputs: one name for the array of all scores, or a name
    for each score. transform: whether a dense layer, an activation and a normalization precede it.
    """

    config: ModelConfig
    num_scores: int
    part: str
    reads: Callable[[HeadInputs], jax.Array]
    outputs: tuple[str, ...]
    initializer: nn.initializers.Initializer
    transform: bool = False

    def setup(self) -> None:
        config = dataclasses.replace(self.config, dtype='float32')
        shape = ((self.num_scores,), ('embed',), ('features',))
        self.dense = Dense(config, *shape, initializer=self.initializer)
        nn.share_scope(self, self.dense)  # the path of the parameters has no 'dense'
        if self.transform:
            self.before = Transform(self.config, config.hidden_size, config.summary_activation)

    def __call__(self, inputs: HeadInputs) -> Outputs:
        x = self.reads(inputs)
        if self.transform:
            x = self.before(x)
        scores = self.dense(inputs.dropout(x) if self.part in TASK_HEADS else x)
        if len(self.outputs) == 1:
            return {self.outputs[0]: scores}
        return {name: scores[..., i] for i, name in enumerate(self.outputs)}


@dataclasses.dataclass(frozen=True)
class Head:
    """An entry of `HEADS`.

    module: makes the module, which maps HeadInputs to Outputs, from a ModelConfig and the number of
    labels; None for the decoder, which `models.encoder_decoder` makes. outputs: the names of the
    outputs, with logical axis names. parameters: the names with which the paths of its parameters
    begin. fine_tuned: whether fine-tuning adds the head to the encoder.
    """

    module: Callable[[ModelConfig, int], nn.Module] | None
    outputs: Mapping[str, tuple[str, ...]]
    parameters: tuple[str, ...]
    fine_tuned: bool = False


def _scores(
    name: str,
    reads: Callable[[HeadInputs], jax.Array],
    outputs: Mapping[str, tuple[str, ...]],
    num_scores: int | None = None,
    fine_tuned: bool = True,
) -> Head:
    """The entry of a `Scores` head; by default it has one score per label."""

    def module(config: ModelConfig, num_labels: int) -> nn.Module:
        # Fine-tuned heads start as in Hugging Face Transformers, from a normal distribution that is
        # not truncated. Smaller values would pass smaller gradients to the encoder, which changes
        # the loss of the first hundred steps.
        normal = nn.initializers.normal(config.initializer_range)
        init = normal if fine_tuned else kernel_init(config)
        transform = config.token_transform and name in ('tagger', 'span')
        size = num_scores or num_labels
        return Scores(config, size, name, reads, tuple(outputs), init, transform)

    return Head(module, outputs, (name,), fine_tuned)


# A head may read the outputs of the heads above it.
HEADS: Mapping[str, Head] = {
    'pooler': Head(
        lambda config, _: Pooler(config), {'pooler_output': ('batch', 'hidden')}, ('pooler',)
    ),
    'masked_lm': Head(
        lambda config, _: MaskedLM(config),
        {'prediction_logits': ('batch', 'length', 'vocab')},
        ('masked_lm_transform', 'masked_lm_bias', 'masked_lm_decoder'),
    ),
    # "B follows A" (0) and "B is random" (1) (Devlin et al., 2019, section 3.1).
    'next_sentence': _scores(
        'next_sentence',
        lambda inputs: inputs.pooled,
        {'seq_relationship_logits': ('batch', 'features')},
        num_scores=2,
        fine_tuned=False,
    ),
    # "In the order of the text" (0) and "swapped" (1) (Lan et al., 2020, section 3.1).
    'sentence_order': _scores(
        'sentence_order',
        lambda inputs: inputs.dropout(inputs.pooled),
        {'sentence_order_logits': ('batch', 'features')},
        num_scores=2,
        fine_tuned=False,
    ),
    # The labels of a text, from the pooled first token.
    'classifier': _scores(
        'classifier',
        lambda inputs: inputs.pooled,
        {'logits': ('batch', 'features')},
    ),
    # The labels of every token.
    'tagger': _scores(
        'tagger',
        lambda inputs: inputs.hidden,
        {'logits': ('batch', 'length', 'features')},
    ),
    # The scores of each token as the start and as the end of an answer.
    'span': _scores(
        'span',
        lambda inputs: inputs.hidden,
        dict.fromkeys(('start_logits', 'end_logits'), ('batch', 'length')),
        num_scores=2,
    ),
    # The text that is written is not an output of this head: the masked-LM head scores its tokens.
    DECODER: Head(None, {}, (DECODER,), fine_tuned=True),
}
PRETRAINING_HEADS = ('pooler', 'masked_lm', 'next_sentence')
TASK_HEADS = tuple(name for name, head in HEADS.items() if head.fine_tuned)
_HEAD_OF = {first: name for name, head in HEADS.items() for first in head.parameters}


def head_of(path: str) -> str:
    """The head that a parameter's path belongs to, or 'encoder'."""
    return _HEAD_OF.get(path.split('/')[0], 'encoder')


def heads_in(paths: Iterable[str]) -> tuple[str, ...]:
    """The heads that have parameters among `paths`, in the order of `HEADS`."""
    present = {head_of(path) for path in paths}
    return tuple(name for name in HEADS if name in present)


# Encoders by `ModelConfig.model_type`.
MODELS: Mapping[str, type[nn.Module]] = dict.fromkeys(get_args(ModelType), Encoder) | {
    'xlnet': XLNet
}
# The field of ModelConfig with the rate of dropout in front of the scores, by head.
DROPOUTS: Mapping[str, str] = {
    'sentence_order': 'classifier_dropout',
    'classifier': 'classifier_dropout',
    'tagger': 'tagger_dropout',
    'span': 'span_dropout',
}


def _dropout_rate(config: ModelConfig, heads: Iterable[str]) -> float:
    """The rate of dropout in the head among `heads` that has dropout."""
    rates = [getattr(config, DROPOUTS[head]) for head in heads if head in DROPOUTS]
    return rates[0] if rates and rates[0] >= 0 else config.hidden_dropout_prob


class HeadedEncoder(nn.Module):
    """The encoder with some of `HEADS`. num_labels: the labels of the classifier or the tagger.
    frozen_layers: see `Encoder`."""

    config: ModelConfig
    heads: tuple[str, ...] = PRETRAINING_HEADS
    num_labels: int = 0
    frozen_layers: int | None = None

    def setup(self) -> None:
        encoder: Any = MODELS[self.config.model_type]
        frozen = {} if self.frozen_layers is None else {'frozen_layers': self.frozen_layers}
        self.encoder = encoder(self.config, **frozen)
        for name in self.heads:
            make = HEADS[name].module
            assert make is not None, name
            head = make(self.config, self.num_labels)
            setattr(self, name, head)
            if name not in HEADS[name].parameters:  # its parameters are not in a scope of its name
                nn.share_scope(self, head)
        self.dropout = Dropout(_dropout_rate(self.config, self.heads))

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
