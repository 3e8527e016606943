"""Floating-point operations of a training step, counted from the model's shapes."""

from bert_jax.config import ModelConfig, Phase


def encoder_flops(model: ModelConfig, phase: Phase) -> float:
    """Floating-point operations of one training step in the encoder's layers.

    2 a multiplication and addition, 3 times for forward and backward: the parameters of the layers
    once per token, and attention's two products. Nothing for what is recomputed, looked up or
    element-wise.
    """
    width, rows, length = model.hidden_size, phase.batch_size, phase.max_seq_length
    layer = 4 * width**2 + 2 * width * model.intermediate_size
    return 6.0 * rows * length * model.num_hidden_layers * layer + attention_flops(model, phase)


def attention_flops(model: ModelConfig, phase: Phase) -> float:
    """Of these, those of the two products of queries, keys, probabilities and values."""
    width, rows, length = model.hidden_size, phase.batch_size, phase.max_seq_length
    return 6.0 * rows * length * model.num_hidden_layers * 2 * length * width


def step_flops(model: ModelConfig, phase: Phase) -> float:
    """The same with the masked-LM head on its slots, pooler and next-sentence head: of a step of
    pretraining."""
    width, rows = model.hidden_size, phase.batch_size
    masked = rows * phase.max_predictions_per_seq * (width**2 + width * model.vocab_size)
    sentence = rows * (width**2 + 2 * width)
    return encoder_flops(model, phase) + 6.0 * (masked + sentence)
