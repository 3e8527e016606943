"""XLNet's two streams against transformers, with memory, segments, padding and reversed rows.

    pytest -s tests/parity/test_xlnet.py

prints the differences. `test_families.py` compares one stream, the heads and the conversions.
"""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from family_models import GRADIENTS, gradient_gap, ours, their_model
from reference import HIDDEN, LOGITS, torch
from small_run import QUICK

from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.xlnet import MEMORY

pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """number: the index of the shape. The other fields: whether the inputs have these parts."""

    number: int
    memory: bool
    segments: bool
    padding: bool
    bi_data: bool


CASES = [
    Case(2, True, False, False, True),
    Case(0, False, True, True, False),
    Case(1, True, True, False, False),
]
ROWS, LENGTH, PREDICTIONS, MEM_LEN, REUSE_LEN, STEPS = 4, 20, 5, 24, 9, 3


def random_order(random: np.random.Generator, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a random order, and targets that are not padding."""
    order, targets = np.zeros((ROWS, LENGTH), np.int32), []
    for row in range(ROWS):
        places = random.permutation(np.flatnonzero(mask[row]))
        # Some places that are not predicted are in the order, too, as special tokens are.
        order[row, places[: PREDICTIONS + 2]] = 1 + random.permutation(PREDICTIONS + 2)
        targets.append(places[:PREDICTIONS])
    return order, np.array(targets, np.int32)


def perm_mask(order: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """1 for each key that a query must not see, as transformers and the original code have it."""
    is_target = np.zeros(order.shape, bool)
    np.put_along_axis(is_target, targets, True, axis=1)
    limit = order + ~is_target  # a place that is not predicted sees itself
    return order[:, None, :] >= limit[:, :, None]


@dataclasses.dataclass(frozen=True)
class Rows:
    """A batch of rows. ids, types, mask, order: [rows, length]; order has the numbers of a
    factorization order. targets, labels: [rows, predictions], the places to predict and their
    tokens."""

    ids: np.ndarray
    types: np.ndarray
    mask: np.ndarray
    order: np.ndarray
    targets: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return np.take_along_axis(self.ids, self.targets, axis=1)


def random_rows(random: np.random.Generator, mask: np.ndarray, vocab_size: int) -> Rows:
    ids = random.integers(9, vocab_size, (ROWS, LENGTH)).astype(np.int32)
    types = np.sort(random.integers(0, 3, (ROWS, LENGTH)), axis=1).astype(np.int32)
    return Rows(ids, types, mask, *random_order(random, mask))


def gradient_step(model: Any) -> Any:
    """A jitted function (params, inputs, labels) -> the gradients of the loss, and (outputs,
    variables)."""

    def loss(params: Any, inputs: EncoderInputs, labels: jax.Array) -> tuple[jax.Array, Any]:
        outputs: Any
        outputs, variables = model.apply({'params': params}, inputs, mutable=[MEMORY])
        scores = jax.nn.log_softmax(outputs['prediction_logits'])
        chosen = jnp.take_along_axis(scores, labels[:, :, None], axis=-1)
        return -jnp.mean(chosen), (outputs, variables)

    return jax.jit(jax.grad(loss, has_aux=True))


def our_inputs(rows: Rows, case: Case, remembered: jax.Array, known: int) -> EncoderInputs:
    """remembered: the memory, of which the last `known` states are valid."""
    is_reversed = (jnp.arange(ROWS) >= ROWS // 2).astype(jnp.int32)
    return EncoderInputs(
        jnp.asarray(rows.ids),
        jnp.asarray(rows.types) if case.segments else None,
        segment_ids=jnp.asarray(rows.mask, jnp.int32) if case.padding else None,
        factorization_order=jnp.asarray(rows.order),
        targets=jnp.asarray(rows.targets),
        is_reversed=is_reversed if case.bi_data else None,
        memory=remembered if case.memory else None,
        memory_length=jnp.full(ROWS, known, jnp.int32) if case.memory else None,
    )


def their_step(theirs: Any, rows: Rows, case: Case, mems: Any) -> Any:
    """The outputs of transformers, after the backward pass of the loss."""
    theirs.zero_grad()
    outputs = theirs(
        input_ids=torch.tensor(rows.ids).long(),
        token_type_ids=torch.tensor(rows.types).long() if case.segments else None,
        attention_mask=torch.tensor(rows.mask).float() if case.padding else None,
        perm_mask=torch.tensor(perm_mask(rows.order, rows.targets)).float(),
        target_mapping=torch.tensor(np.eye(LENGTH, dtype=np.float32)[rows.targets]),
        mems=mems,
        use_mems=case.memory,
        output_hidden_states=True,
    )
    labels = torch.tensor(rows.labels).long().flatten()
    torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels).backward()
    return outputs


def memory_gap(variables: Any, mems: Any, expected: int) -> tuple[jax.Array, float]:
    """Our memory and its largest difference from that of transformers, which has `expected`
    states."""
    (remembered,) = variables[MEMORY]['encoder']['hidden']
    there = np.stack([layer.numpy() for layer in mems]).transpose(2, 0, 1, 3)
    assert there.shape[2] == expected
    here = np.asarray(remembered)[:, :, -expected:]
    return remembered, float(np.abs(here - there).max())


@pytest.mark.parametrize('case', CASES[1:] if QUICK else CASES)
def test_two_streams(tmp_path: pathlib.Path, case: Case) -> None:
    """Hidden states, logits, memory and gradients of the last of three consecutive rows."""
    theirs = their_model('xlnet', case.number)
    mine = ours(theirs, tmp_path)
    random, sizes = np.random.default_rng(case.number), np.array([LENGTH, 12, 15, 20])
    mask = np.arange(LENGTH) >= LENGTH - np.where(case.padding, sizes, LENGTH)[:, None]
    transformer = theirs.transformer
    transformer.bi_data = case.bi_data
    transformer.mem_len, transformer.reuse_len = MEM_LEN, REUSE_LEN
    config = dataclasses.replace(mine.config, mem_len=MEM_LEN, reuse_len=REUSE_LEN)
    step = gradient_step(dataclasses.replace(mine, config=config).model)
    remembered: Any = jnp.zeros((ROWS, config.num_hidden_layers, MEM_LEN, config.hidden_size))
    mems, found = None, {}
    for k in range(STEPS if case.memory else 1):
        rows = random_rows(random, mask, config.vocab_size)
        inputs = our_inputs(rows, case, remembered, min(k * REUSE_LEN, MEM_LEN))
        gradients, (outputs, variables) = step(mine.params, inputs, rows.labels)
        outputs_there = their_step(theirs, rows, case, mems)
        if case.memory:
            mems = [layer.detach() for layer in outputs_there.mems]
            expected = min((k + 1) * REUSE_LEN, MEM_LEN)
            remembered, found['memory'] = memory_gap(variables, mems, expected)
            assert found['memory'] <= HIDDEN
    hidden = outputs_there.hidden_states[-1].detach().numpy()  # of the query stream
    logits = outputs_there.logits.detach().numpy()
    for name, here, there, bar in (
        ('hidden', outputs['last_hidden_state'], hidden, HIDDEN),
        ('logits', outputs['prediction_logits'], logits, LOGITS),
    ):
        found[name] = float(np.abs(np.asarray(here) - there).max())
        assert found[name] <= bar and np.abs(there).max() > 1
    found['gradients'] = gradient_gap(mine, gradients, theirs)
    assert found['gradients'] <= GRADIENTS
    print(f'| xlnet {case.number} |', ' | '.join(f'{name} {x:.1e}' for name, x in found.items()))
