"""The encoder-decoder: an encoder, a decoder and the scores of the next token.

Its parameters are those of an encoder with the masked-LM head, which gives the scores, and those of
the decoder. Parameters that the decoder shares with the encoder (config.model.decoder_shares) are
stored once, with the encoder. They are copied into the decoder before the model is applied.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from bert_jax.config import ModelConfig
from bert_jax.models.decoder import Decoder, KeysAndValues, Source
from bert_jax.models.encoder import Encoder
from bert_jax.models.heads import DECODER, HeadedEncoder, HeadInputs, MaskedLM, Outputs
from bert_jax.models.inputs import EncoderInputs

SHARED = {'nothing': (), 'embeddings': ('embeddings',), 'everything': ('embeddings', 'layers')}
# Fields of ModelConfig of which the decoder supports only one value.
ONLY = {
    'pre_norm': False,
    'share_layers': False,
    'gated_mlp': False,
    'local_attention': 0,
    'layerdrop': 0.0,
}


class EncoderDecoder(nn.Module):
    """An encoder, a decoder and the masked-LM head. frozen_layers: see `Encoder`.

    The parameters that `init` returns and `apply` receives do not include those that the decoder
    shares with the encoder. `apply` copies them into the decoder before it calls a method.
    """

    config: ModelConfig
    frozen_layers: int | None = None

    def setup(self) -> None:
        self.encoder = Encoder(self.config, self.frozen_layers)
        self.decoder = Decoder(self.config)
        self.masked_lm = MaskedLM(self.config)
        nn.share_scope(self, self.masked_lm)

    def __call__(
        self,
        inputs: EncoderInputs,
        target_ids: jax.Array | None = None,
        deterministic: bool = True,
    ) -> Outputs:
        """Returns last_hidden_state [batch, source, hidden] of the encoder and, if target_ids is
        given, decoder_hidden_state [batch, target, hidden] and prediction_logits, float32[batch,
        target, vocab], the scores of the tokens that follow each target token.

        target_ids: int32[batch, target], the tokens that the decoder reads.
        """
        outputs = {'last_hidden_state': self.encoder(inputs, deterministic)}
        if target_ids is not None:
            source = Source(outputs['last_hidden_state'], inputs)
            hidden, _ = self.decoder(target_ids, source, deterministic=deterministic)
            outputs |= {'decoder_hidden_state': hidden} | self._scores(hidden)
        return outputs

    def step(
        self, ids: jax.Array, source: Source, position: jax.Array, cache: KeysAndValues
    ) -> tuple[jax.Array, KeysAndValues]:
        """Returns the scores of the tokens that follow `ids`, float32[batch, beams, vocab], and the
        new cache. ids: int32[batch, beams], the tokens at the place `position` of the targets."""
        hidden, cache = self.decoder(ids, source, position, cache)
        return self._scores(hidden)['prediction_logits'], cache

    def _scores(self, hidden: jax.Array) -> Outputs:
        attend = self.decoder.embeddings.attend
        return self.masked_lm(HeadInputs(hidden, None, None, attend, lambda x: x))

    @nn.nowrap
    def init(self, key: jax.Array, inputs: EncoderInputs) -> dict[str, Any]:  # type: ignore[override]
        """Returns {'params': fresh parameters, in boxes}."""
        params = dict(super().init(key, inputs, inputs.input_ids)['params'])
        decoder = dict(params['decoder'])
        for name in SHARED[self.config.decoder_shares]:
            own = {part: x for part, x in decoder.pop(name).items() if part == 'cross_attention'}
            decoder |= {name: own} if own else {}
        return {'params': params | {'decoder': decoder}}

    @nn.nowrap
    def apply(self, variables: Mapping[str, Any], *arguments: Any, **named: Any) -> Any:
        """Calls a method of the module with these parameters, as in Flax."""
        params = completed(self.config, variables['params'])
        return super().apply({'params': params}, *arguments, **named)


def completed(config: ModelConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters, with those that the decoder shares with the encoder in both."""
    decoder = dict(params['decoder'])
    for name in SHARED[config.decoder_shares]:
        decoder[name] = {**params['encoder'][name], **decoder.get(name, {})}
    return {**params, 'decoder': decoder}


# Fields of the architecture that may differ between the two checkpoints from which an
# encoder-decoder starts: the number of layers, the size of the vocabulary, which may be padded, and
# the standard deviation of fresh parameters.
MAY_DIFFER = ('num_hidden_layers', 'vocab_size', 'initializer_range')


def check(config: ModelConfig) -> None:
    """Raises ValueError if a field has a value that a decoder does not support, and names it."""
    expected: dict[str, Any] = dict(ONLY)
    if config.position_embedding_type != 'sinusoidal':
        expected['position_embedding_type'] = 'absolute'
    if config.decoder_shares == 'everything' and config.decoder_layers:  # 0: as many as the encoder
        expected['decoder_layers'] = config.num_hidden_layers
    for name, only in expected.items():
        value = getattr(config, name)
        if value != only:
            raise ValueError(
                f'config.model.{name} is {value!r}; a decoder supports only {only!r}. Start from a '
                'checkpoint of BERT, RoBERTa or a family with such layers'
            )


def model_of(
    config: ModelConfig, heads: tuple[str, ...], num_labels: int
) -> HeadedEncoder | EncoderDecoder:
    """Returns the model with these heads: an encoder-decoder if they include a decoder."""
    if DECODER in heads:
        return EncoderDecoder(config)
    return HeadedEncoder(config, heads, num_labels)
