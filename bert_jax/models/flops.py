"""Useful floating-point operations of a training step, counted from the model's shapes."""

from bert_jax.config import ModelConfig, Phase


def encoder_flops(model: ModelConfig, phase: Phase) -> float:
    """Returns the floating-point operations of the encoder's layers in one training step.

    A multiplication and an addition are 2, and forward and backward pass together are 3 times the
    forward pass. Counted are the parameters of the layers, once per token, and the two products of
    attention. Recomputation, look-ups and element-wise operations are not counted.
    """
    width, tokens = model.hidden_size, phase.batch_size * phase.max_seq_length
    layer = 4 * width**2 + 2 * width * model.intermediate_size
    return 6.0 * tokens * model.num_hidden_layers * layer + attention_flops(model, phase)


def attention_flops(model: ModelConfig, phase: Phase) -> float:
    """Returns the part of `encoder_flops` that is in the two products of attention."""
    width, length = model.hidden_size, phase.max_seq_length
    return 6.0 * phase.batch_size * length * model.num_hidden_layers * 2 * length * width


def step_flops(model: ModelConfig, phase: Phase) -> float:
    """Returns the floating-point operations of one step of pretraining.

    These are `encoder_flops`, the masked-LM head on its positions, and the pooler with the
    next-sentence head.
    """
    width, rows = model.hidden_size, phase.batch_size
    masked = rows * phase.max_predictions_per_seq * (width**2 + width * model.vocab_size)
    sentence = rows * (width**2 + 2 * width)
    return encoder_flops(model, phase) + 6.0 * (masked + sentence)
