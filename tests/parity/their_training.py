"""Training in PyTorch as in bert_jax: the optimizer, the loss of masked words, and a step."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bert_jax.config import OptimConfig

NO_DECAY = re.compile(r'bias$|LayerNorm')


def adamw(model: Any, settings: OptimConfig, **options: Any) -> Any:
    """AdamW for all parameters; biases and norms have no weight decay."""
    groups: dict[float, list[Any]] = {0.0: [], settings.weight_decay: []}
    for name, parameter in model.named_parameters():
        groups[0.0 if NO_DECAY.search(name) else settings.weight_decay].append(parameter)
    parts = [{'params': group, 'weight_decay': decay} for decay, group in groups.items()]
    betas = settings.beta1, settings.beta2
    return torch.optim.AdamW(parts, settings.learning_rate, betas, settings.eps, **options)


def update(optimizer: Any, loss: Any, settings: OptimConfig, rate: float | None = None) -> float:
    """Updates the parameters; returns the loss. rate: the learning rate of this step, if it
    changes."""
    for group in optimizer.param_groups:
        group['lr'] = group['lr'] if rate is None else rate
    optimizer.zero_grad()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    torch.nn.utils.clip_grad_norm_(parameters, settings.grad_clip_norm)
    optimizer.step()
    return loss.item()


def texts(batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arrays of a batch that an encoder reads, as tensors."""
    names = ('input_ids', 'token_type_ids', 'attention_mask')
    return {name: torch.tensor(batch[name]).long() for name in names}


def masked_lm_loss(logits: Any, batch: Mapping[str, np.ndarray]) -> tuple[Any, float]:
    """The sum of the losses of the masked tokens, and the number of masked tokens."""
    positions, ids = (
        torch.tensor(batch[name]).long() for name in ('masked_lm_positions', 'masked_lm_ids')
    )
    logits = torch.take_along_dim(logits, positions[:, :, None], 1).flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits, ids.flatten(), reduction='none')
    weights = torch.tensor(batch['masked_lm_weights']).flatten()
    return (losses * weights).sum(), float(weights.sum())
