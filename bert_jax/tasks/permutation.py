"""XLNet's objective: predict the words of a text in a random order."""

import dataclasses
from typing import Any, ClassVar

import jax

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.parameters import compute_dtype
from bert_jax.models.xlnet import MEMORY
from bert_jax.tasks.losses import Sums
from bert_jax.tasks.masked_lm import MaskedLMTask
from bert_jax.tasks.task import RandomStreams


@dataclasses.dataclass(frozen=True)
class PermutationTask(MaskedLMTask):
    """Predicts words of a row in a random order (Yang et al., 2019, section 2.2).

    With `mem_len`, each layer attends to hidden states of earlier rows, too. Rows of an evaluation
    are predicted without them.
    """

    loss_weights: ClassVar = {'plm_loss': 1.0}
    perplexities: ClassVar = {'plm_perplexity': 'plm_loss'}

    def __post_init__(self) -> None:
        if self.config.model_type != 'xlnet':
            raise ValueError(
                f"config.model.model_type is {self.config.model_type!r}; the objective 'plm' needs "
                "'xlnet', whose two streams predict a word without seeing it"
            )

    def batch_spec(self, phase: Phase) -> BatchSpec:
        spec = dict(super().batch_spec(phase))
        rows, order = phase.batch_size, spec['input_ids']
        spec['factorization_order'] = dataclasses.replace(order, maximum=2**31 - 1)
        if self.config.bi_data:
            spec['is_reversed'] = Feature((rows,), 'int32', ('batch',), 2)
        if self.config.mem_len:
            longest = self.config.mem_len + 1
            spec['memory_length'] = Feature((rows,), 'int32', ('batch',), longest)
        return spec

    def memory_spec(self, phase: Phase) -> BatchSpec:
        config = self.config
        shape = (phase.batch_size, config.num_hidden_layers, config.mem_len, config.hidden_size)
        axes, dtype = ('batch', 'layers', 'length', 'hidden'), str(compute_dtype(config.dtype))
        return {'memory': Feature(shape, dtype, axes)} if config.mem_len else {}

    def flops(self, phase: Phase) -> float:
        targets = phase.max_predictions_per_seq
        return step_flops(self.config, phase, False, self.frozen_layers, targets)

    def prediction_weights(self, batch: Batch) -> dict[str, jax.Array]:
        return {'plm': batch['masked_lm_weights']}

    def loss_and_memory(
        self, params: Any, batch: Batch, rngs: RandomStreams, frozen: Any = ()
    ) -> tuple[Sums, Batch]:
        if 'memory' not in batch:
            return self.loss(params, batch, rngs), {}
        outputs: Any
        outputs, variables = self.model.apply(
            {'params': params},
            *self.arguments(batch),
            deterministic=False,
            rngs=dict(rngs),
            mutable=[MEMORY],
        )
        (memory,) = variables[MEMORY]['encoder']['hidden']
        return self._all_sums(outputs, batch), {'memory': memory}
