"""XLNet's two streams against transformers, with memory, segments, padding and reversed rows.

    pytest -s tests/parity/test_xlnet.py

prints the differences. `test_families.py` compares one stream, the heads and the conversions.
"""

import dataclasses
import pathlib
from typing import Any

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

# The number of the shape, and whether there are memory, segments, padding and reversed rows.
CASES = [
    (2, True, False, False, True),
    (0, False, True, True, False),
    (1, True, True, False, False),
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


@pytest.mark.parametrize(
    ('number', 'memory', 'segments', 'padding', 'bi_data'),
    CASES[1:] if QUICK else CASES,
)
def test_two_streams(
    tmp_path: pathlib.Path, number: int, memory: bool, segments: bool, padding: bool, bi_data: bool
) -> None:
    """Hidden states, logits, memory and gradients of the last of three consecutive rows."""
    theirs = their_model('xlnet', number)
    mine = ours(theirs, tmp_path)
    random, sizes = np.random.default_rng(number), np.array([LENGTH, 12, 15, 20])
    mask = np.arange(LENGTH) >= LENGTH - np.where(padding, sizes, LENGTH)[:, None]
    transformer = theirs.transformer
    transformer.bi_data, transformer.mem_len, transformer.reuse_len = bi_data, MEM_LEN, REUSE_LEN
    config = dataclasses.replace(mine.config, mem_len=MEM_LEN, reuse_len=REUSE_LEN)
    model = dataclasses.replace(mine, config=config).model

    def loss(params: Any, inputs: EncoderInputs, labels: jax.Array) -> tuple[jax.Array, Any]:
        outputs: Any
        outputs, variables = model.apply({'params': params}, inputs, mutable=[MEMORY])
        scores = jax.nn.log_softmax(outputs['prediction_logits'])
        chosen = jnp.take_along_axis(scores, labels[:, :, None], axis=-1)
        return -jnp.mean(chosen), (outputs, variables)

    step = jax.jit(jax.grad(loss, has_aux=True))
    remembered: Any = jnp.zeros((ROWS, config.num_hidden_layers, MEM_LEN, config.hidden_size))
    mems, found = None, {}
    for number_of_row in range(STEPS if memory else 1):
        ids = random.integers(9, config.vocab_size, (ROWS, LENGTH)).astype(np.int32)
        types = np.sort(random.integers(0, 3, (ROWS, LENGTH)), axis=1).astype(np.int32)
        order, targets = random_order(random, mask)
        labels = np.take_along_axis(ids, targets, axis=1)
        known = min(number_of_row * REUSE_LEN, MEM_LEN)
        inputs = EncoderInputs(
            jnp.asarray(ids),
            jnp.asarray(types) if segments else None,
            segment_ids=jnp.asarray(mask, jnp.int32) if padding else None,
            factorization_order=jnp.asarray(order),
            targets=jnp.asarray(targets),
            is_reversed=(jnp.arange(ROWS) >= ROWS // 2).astype(jnp.int32) if bi_data else None,
            memory=remembered if memory else None,
            memory_length=jnp.full(ROWS, known, jnp.int32) if memory else None,
        )
        gradients, (outputs, variables) = step(mine.params, inputs, labels)

        theirs.zero_grad()
        outputs_there = theirs(
            input_ids=torch.tensor(ids).long(),
            token_type_ids=torch.tensor(types).long() if segments else None,
            attention_mask=torch.tensor(mask).float() if padding else None,
            perm_mask=torch.tensor(perm_mask(order, targets)).float(),
            target_mapping=torch.tensor(np.eye(LENGTH, dtype=np.float32)[targets]),
            mems=mems,
            use_mems=memory,
            output_hidden_states=True,
        )
        torch.nn.functional.cross_entropy(
            outputs_there.logits.flatten(0, 1), torch.tensor(labels).long().flatten()
        ).backward()
        if memory:
            mems = [layer.detach() for layer in outputs_there.mems]
            (remembered,) = variables[MEMORY]['encoder']['hidden']
            there = np.stack([layer.numpy() for layer in mems]).transpose(2, 0, 1, 3)
            here = np.asarray(remembered)[:, :, -there.shape[2] :]
            found['memory'] = float(np.abs(here - there).max())
            assert found['memory'] <= HIDDEN and there.shape[2] == min(known + REUSE_LEN, MEM_LEN)
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
    print(f'| xlnet {number} |', ' | '.join(f'{name} {x:.1e}' for name, x in found.items()))
