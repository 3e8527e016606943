"""A tiny model of each kind in the table of presets, and the configuration of a run of it.

Presets that differ only in their sizes or in the names of their family are one kind.
"""

import dataclasses
from typing import Any

from tiny_model import TINY, changed

from bert_jax.config import Config, ModelConfig, Phase
from bert_jax.models.presets import PRESETS

QUIET = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0, 'layerdrop': 0.0}
QUIET |= {'classifier_dropout': 0.0}
# The published objectives of families; all others predict masked words alone.
PUBLISHED = {'bert': 'mlm+nsp', 'albert': 'mlm+sop', 'xlnet': 'plm'}
PHASE = Phase(20, 16, 16, 3)


def tiny(model: ModelConfig) -> ModelConfig:
    """A model of the same kind that is small enough for a test."""
    return dataclasses.replace(
        model,
        vocab_size=512,
        hidden_size=64,
        num_hidden_layers=4 if model.local_attention else 2,
        num_attention_heads=4,
        intermediate_size=128 if model.gated_mlp else 256,
        max_position_embeddings=32 + model.position_offset,
        embedding_size=model.embedding_size and 32,
        local_attention=min(model.local_attention, 8),
    )


def _different() -> dict[str, ModelConfig]:
    kinds = dict[ModelConfig, tuple[str, ModelConfig]]()
    for name, model in PRESETS.items():
        small = dataclasses.replace(tiny(model), scan_unroll=1)  # compiles faster
        kinds.setdefault(dataclasses.replace(small, model_type='bert'), (name, small))
    return dict(kinds.values())


KINDS = _different()


def objective(name: str) -> Any:
    """The objective with which the family of a preset is published."""
    return PUBLISHED.get(PRESETS[name].model_type, 'mlm')


def configuration(kind: str, dropout: bool = True, accum_steps: int = 1, **optim: Any) -> Config:
    """The configuration of a short run of a kind. optim: other values of `OptimConfig`."""
    train = {'phases': (PHASE,), 'accum_steps': accum_steps}
    config = changed(TINY, model=KINDS[kind], objective=objective(kind), optim=optim, train=train)
    return config if dropout else changed(config, model=QUIET)
