"""The categories of a step's operations, and the times that the profiler reports for them."""

import dataclasses
import re
import types
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from kinds import KINDS, PHASE, configuration
from small_run import QUICK
from tiny_model import TINY, mesh_of

from bert_jax.config import MeshConfig
from bert_jax.performance import step_profile
from bert_jax.tasks.pretraining import OBJECTIVES, PretrainTask
from bert_jax.training.train_step import build_step

HEAD = 'jit(step)/jvp(HeadedEncoder)/masked_lm'
LAYER = 'jit(step)/jvp(HeadedEncoder)/encoder/while/body/closed_call/layers'


@pytest.mark.parametrize(
    ('name', 'category'),
    [
        (f'{LAYER}/attention/query_key_value/dot_general', 'products: query, key, value, output'),
        (f'{LAYER}/attention/bqhd,bkhd->bhqk/dot_general', 'products: scores and values'),
        (f'{LAYER}/attention/reduce_max', 'softmax and the rest of attention'),
        (f'{LAYER}/attention/while/body/closed_call/add', 'random bits'),
        (f'{LAYER}/Dropout_0/jit(_threefry_fold_in)/slice', 'random bits'),
        (f'{LAYER}/Dropout_0/mul', 'dropout, where it is not fused'),
        (f'{LAYER}/output_norm/reduce_sum', 'layer norm'),
        (f'{LAYER}/layers._feed_forward/output/checkpoint/erfc', 'activations'),
        (f'{LAYER}/layers._feed_forward/output/dot_general', 'products: MLP'),
        (f'{LAYER}/layers._feed_forward/mul', 'activations'),
        (f'{LAYER}/intermediate/transpose', 'additions, transposes, copies'),
        ('jit(step)/jvp()/reduce_sum', 'the loss'),
        ('jit(step)/jit(_where)/select_n', step_profile.OPTIMIZER),
        (f'{LAYER}/attention/custom_vjp_call', 'softmax and the rest of attention'),
        (f'{HEAD}/embeddings.attend/convert', 'the rest of the vocabulary'),
        ('', step_profile.UNKNOWN),
    ],
)
def test_categories_by_the_names_of_operations(name: str, category: str) -> None:
    assert step_profile.category('fusion.3', name) == category
    assert step_profile.category('all-reduce.7', name) == step_profile.BETWEEN_DEVICES


class Event(NamedTuple):
    name: str
    start_ns: float
    duration_ns: float
    stats: Sequence[tuple[str, str]]


def test_self_times_leave_out_called_operations() -> None:
    events = [
        Event('any', 10, 30, [('hlo_op', 'inner')]),
        Event('%while = (f32[2]) while(%x)', 0, 100, []),
        Event('any', 20, 5, [('hlo_op', 'innermost')]),
        Event('any', 50, 10, [('other', 'not an operation')]),
        Event('any', 100, 7, [('hlo_op', 'after')]),
    ]
    times = step_profile.self_times(types.SimpleNamespace(events=events))
    assert times == {'innermost': 5, 'inner': 25, 'while': 70, 'after': 7}


def test_a_step_has_operations_of_each_category() -> None:
    """A module of the model that is renamed would otherwise leave its category empty."""
    task = PretrainTask(dataclasses.replace(TINY.model, dtype='bfloat16'))
    step = build_step(TINY, task, mesh_of(MeshConfig(1, 1, 2)))
    text = step.lower(TINY.train.phases[0]).compile().as_text()
    seen = {step_profile.category(*operation) for operation in step_profile.NAMED.findall(text)}
    others = {step_profile.OPTIMIZER, step_profile.BETWEEN_DEVICES}
    assert seen == {*step_profile.OP_CATEGORIES, *others}


# Matrix products outside the encoder's layers and the decoder: heads and embeddings.
OTHER_PRODUCTS = re.compile(
    'pooler|masked_lm_transform|next_sentence|sentence_order|embedding_hidden_mapping_in|_token_types'
)
# Kinds with gated networks, shared layers, no pooler and no token types.
FEW = ('modernbert-base', 'albert-base')


@pytest.mark.slow
@pytest.mark.parametrize('name', FEW if QUICK else KINDS)
def test_the_categories_of_each_kind_of_model(name: str) -> None:
    config = configuration(name)
    step = build_step(config, OBJECTIVES[config.objective](config.model), mesh_of(MeshConfig(1, 1)))
    text = step.lower(PHASE).compile().as_text()
    found: dict[str, set[str]] = {}
    for operation, path in step_profile.NAMED.findall(text):
        found.setdefault(step_profile.category(operation, path), set()).add(path)
    unused = {'dropout, where it is not fused', 'random bits', 'products: others'}
    unused |= {'the rest of the vocabulary'}  # on one device
    assert {*step_profile.OP_CATEGORIES} - {*found} <= unused
    for category, paths in found.items():
        products = {path for path in paths if path.endswith('dot_general')}
        if category == 'products: others':
            assert all(OTHER_PRODUCTS.search(path) for path in products), products
        elif products:
            assert category.startswith('products: '), (category, products)
