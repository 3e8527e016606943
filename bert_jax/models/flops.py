"""Useful floating-point operations of a training step, counted from the model's shapes."""

from bert_jax.config import ModelConfig, Phase


def encoder_flops(
    model: ModelConfig, phase: Phase, frozen_layers: int | None = None, targets: int = 0
) -> float:
    """Returns the floating-point operations of the encoder's layers in one training step.

    A multiplication with an addition counts as 2, and the backward pass as twice the forward pass.
    The count includes the matrix products of the layers and of the embeddings, and the two products
    of attention, but no recomputation, look-ups or element-wise operations. Layers that share their
    parameters count as often as they are applied. Local attention counts in full, because the whole
    product is computed. frozen_layers: see `Encoder`; frozen layers have no backward pass. targets:
    the queries of XLNet's second stream in each row.
    """
    if model.position_embedding_type == 'relative':
        return _relative_flops(model, phase, frozen_layers, targets)
    width, tokens = model.hidden_size, phase.batch_size * phase.max_seq_length
    matrices = 3 if model.gated_mlp else 2
    layer = 4 * width**2 + matrices * width * model.intermediate_size
    embeddings = width * model.embedding_size / (1 if frozen_layers is None else 3)
    products = _layers(model, frozen_layers) * layer + embeddings
    return 6.0 * tokens * products + attention_flops(model, phase, frozen_layers)


def attention_flops(model: ModelConfig, phase: Phase, frozen_layers: int | None = None) -> float:
    """Returns the part of `encoder_flops` for the two products of attention."""
    width, length = model.hidden_size, phase.max_seq_length
    layers = _layers(model, frozen_layers)
    return 6.0 * phase.batch_size * length * layers * 2 * length * width


def _layers(model: ModelConfig, frozen_layers: int | None) -> float:
    """Returns the number of layers. A frozen layer counts as a third of a layer, because it has no
    backward pass."""
    return model.num_hidden_layers - min(frozen_layers or 0, model.num_hidden_layers) * 2 / 3


def _relative_flops(
    model: ModelConfig, phase: Phase, frozen_layers: int | None, targets: int
) -> float:
    """`encoder_flops` of XLNet, with the products of queries and distances, and with memory."""
    width, length = model.hidden_size, phase.max_seq_length
    keys = length + (model.mem_len if targets else 0)
    queries, distances = length + targets, keys + length
    row = queries * 2 * width * (width + model.intermediate_size) + keys * 2 * width**2
    row += queries * (2 * keys + distances) * width
    layer = phase.batch_size * row + distances * width**2
    return 6.0 * _layers(model, frozen_layers) * layer


def decoder_flops(model: ModelConfig, phase: Phase, target: int) -> float:
    """Returns the floating-point operations of a decoder in one training step.

    target: the number of tokens of each target. The count is that of `encoder_flops` and includes
    the attention to the source and the scores of all tokens of the target.
    """
    width, rows, source = model.hidden_size, phase.batch_size, phase.max_seq_length
    own = 6 * width**2 + 2 * width * model.intermediate_size  # for a token of the target
    attention = 2 * width * (target + source)
    layer = target * (own + attention) + source * 2 * width**2
    scores = model.embedding_width * (width * model.masked_lm_transform + model.vocab_size)
    return 6.0 * rows * (model.num_decoder_layers * layer + target * scores)


def step_flops(
    model: ModelConfig,
    phase: Phase,
    sentences: bool = True,
    frozen_layers: int | None = None,
    targets: int = 0,
) -> float:
    """Returns the floating-point operations of one step of pretraining.

    These are `encoder_flops`, the masked-LM head on its positions and, if `sentences`, the pooler
    with the head of next sentences or of their order. targets: see `encoder_flops`.
    """
    width, rows = model.hidden_size, phase.batch_size
    head = model.embedding_width * (width * model.masked_lm_transform + model.vocab_size)
    masked = rows * phase.max_predictions_per_seq * head
    sentence = rows * (width**2 + 2 * width) if sentences else 0
    return encoder_flops(model, phase, frozen_layers, targets) + 6.0 * (masked + sentence)
