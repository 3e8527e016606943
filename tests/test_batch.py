"""Synthetic batches are ones that a run could have."""

from tiny_model import TINY

from bert_jax import batch
from bert_jax.config import Phase
from bert_jax.tasks.pretraining import PretrainTask


def test_synthetic_batches_are_valid_and_have_no_padding() -> None:
    spec = PretrainTask(TINY.model).batch_spec(Phase(1, 32, 16, 5))
    made = batch.synthetic(spec, 1)
    batch.check(made, spec, num_hosts=1)
    assert made['attention_mask'].all()
    assert len(set(made['input_ids'].ravel())) > 100
    assert (made['input_ids'] != batch.synthetic(spec, 2)['input_ids']).any()
