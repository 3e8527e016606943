"""The table of presets: published numbers of parameters, and eight devices against one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from kinds import tiny
from small_run import QUICK

from bert_jax.config import Config, MeshConfig, ModelConfig, choices, validate
from bert_jax.convert.families import FAMILIES
from bert_jax.inference.model_dir import abstract_params
from bert_jax.models.heads import HeadedEncoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.presets import PRESETS
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import make_mesh

# The parameters of the bare encoder in transformers, with its pooler if it has one there, and the
# number that its authors give, in millions, if they give one.
PARAMETERS = {
    'bert-tiny': (4_385_920, 4.4),
    'bert-base': (109_482_240, 110),
    'bert-large': (335_141_888, 340),
    'roberta-base': (124_645_632, 125),
    'roberta-large': (355_359_744, 355),
    'xlm-roberta-base': (278_043_648, 270),
    'xlm-roberta-large': (559_890_432, 550),
    'camembert-base': (110_621_952, 110),
    'camembert-large': (336_661_504, 335),
    'electra-small': (13_483_008, 14),
    'electra-base': (108_891_648, 110),
    'electra-large': (334_092_288, 335),
    'distilbert-base': (66_362_880, 66),
    'albert-base': (11_683_584, 12),
    'albert-large': (17_683_968, 18),
    'albert-xlarge': (58_724_864, 60),
    'albert-xxlarge': (222_595_584, 235),
    'xlm-mlm-en-2048': (667_088_896, 667),
    'xlm-mlm-tlm-xnli15-1024': (248_976_384, 250),
    'flaubert-base': (138_233_088, 138),
    'flaubert-large': (373_214_208, 373),
    'modernbert-base': (149_014_272, 149),
    'modernbert-large': (394_781_696, 395),
    'xlnet-base-cased': (116_718_336, 117),
    'xlnet-large-cased': (360_268_800, 360),
}


@pytest.mark.parametrize('name', PRESETS)
def test_the_number_of_parameters(name: str) -> None:
    model = PRESETS[name]
    family = FAMILIES[model.model_type]
    heads = next(iter(family.classes.values()))
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model, heads)))
    exact, millions = PARAMETERS[name]
    assert count == exact and abs(count / 1e6 / millions - 1) < 0.06


@pytest.mark.parametrize('name', PRESETS)
def test_a_config_json_describes_it(name: str) -> None:
    family = FAMILIES[PRESETS[name].model_type]
    values = family.values(PRESETS[name])  # raises if a value of an architecture differs
    assert family.unknown(values) == []
    validate(Config(model=PRESETS[name]))


def test_every_family_has_a_preset() -> None:
    kinds = {model.model_type for model in PRESETS.values()}
    assert kinds == set(choices('model.model_type')) == set(FAMILIES)
    assert PARAMETERS.keys() == PRESETS.keys()


def different_kinds() -> dict[str, ModelConfig]:
    """A tiny model of each kind; families that differ in their names only are one kind."""
    kinds = {}
    for name, model in PRESETS.items():
        small = tiny(model)
        kinds.setdefault(dataclasses.replace(small, model_type='bert'), (name, small))
    return dict(kinds.values())


# The presets of each kind, by the one that is trained on eight devices and on one.
KINDS = {
    'bert-tiny': ('bert-tiny', 'bert-base', 'bert-large'),
    'roberta-base': (
        *('roberta-base', 'roberta-large', 'xlm-roberta-base', 'xlm-roberta-large'),
        *('camembert-base', 'camembert-large'),
    ),
    'electra-small': ('electra-small',),
    'electra-base': ('electra-base', 'electra-large'),
    'distilbert-base': ('distilbert-base',),
    'albert-base': ('albert-base', 'albert-large', 'albert-xlarge', 'albert-xxlarge'),
    'xlm-mlm-en-2048': ('xlm-mlm-en-2048',),
    'xlm-mlm-tlm-xnli15-1024': ('xlm-mlm-tlm-xnli15-1024',),
    'flaubert-base': ('flaubert-base',),
    'flaubert-large': ('flaubert-large',),
    'modernbert-base': ('modernbert-base', 'modernbert-large'),
    'xlnet-base-cased': ('xlnet-base-cased', 'xlnet-large-cased'),
}
SIZES = {'vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads'}
SIZES |= {'intermediate_size', 'max_position_embeddings', 'embedding_size', 'local_attention'}


def test_every_preset_is_trained_on_eight_devices_in_a_small_size() -> None:
    assert different_kinds().keys() == KINDS.keys()
    assert sorted(name for names in KINDS.values() for name in names) == sorted(PRESETS)
    for kind, names in KINDS.items():
        for name in names:
            small = different_kinds()[kind]
            for field in dataclasses.fields(ModelConfig):
                value, other = (getattr(model, field.name) for model in (PRESETS[name], small))
                assert value == other or field.name in (*SIZES, 'model_type'), (name, field.name)
                assert bool(value) == bool(other), (name, field.name)


def loss_and_gradients(
    model: ModelConfig, mesh: jax.sharding.Mesh, params: Any = None
) -> tuple[float, Any, Any]:
    """A masked-LM loss with dropout, its gradients, and the parameters."""
    module = HeadedEncoder(model, ('masked_lm',))
    boxed = jax.eval_shape(module.init, jax.random.key(0), EncoderInputs.example())['params']
    sharding.check_rules(boxed, mesh)
    if params is None:
        params = nn.unbox(jax.jit(module.init)(jax.random.key(0), EncoderInputs.example()))
        params = jax.device_get(params['params'])
    random = np.random.default_rng(0)
    ids = random.integers(0, model.vocab_size, (16, 16)).astype(np.int32)
    types = random.integers(0, max(model.type_vocab_size, 1), (16, 16)).astype(np.int32)
    mask = (np.arange(16) < random.integers(8, 17, (16, 1))).astype(np.int32)

    def loss(params: Any) -> jax.Array:
        inputs = EncoderInputs(jnp.asarray(ids), jnp.asarray(types), None, jnp.asarray(mask))
        if model.model_type == 'xlnet':  # with one stream, the vector of targets has no gradient
            order = jnp.broadcast_to(jnp.arange(16), (16, 16))
            inputs = dataclasses.replace(inputs, factorization_order=order, targets=order)
        rngs = {'dropout': jax.random.key(1)}
        outputs = module.apply({'params': params}, inputs, None, False, rngs=rngs)
        scores = jax.nn.log_softmax(outputs['prediction_logits'])  # type: ignore[index]
        return -jnp.sum(scores[:, :, 7] * mask) / mask.sum()

    held = jax.tree.map(lambda leaf: leaf.sharding, sharding.abstract_state(boxed, mesh))
    with jax.set_mesh(mesh):
        value, gradients = jax.jit(jax.value_and_grad(loss))(jax.device_put(params, held))
    return float(value), jax.device_get(gradients), params


FEW = ('modernbert-base',)


@pytest.mark.slow
@pytest.mark.parametrize('name', FEW if QUICK else different_kinds())
def test_eight_devices_are_one_device(name: str) -> None:
    model = dataclasses.replace(different_kinds()[name], scan_unroll=1)  # compiles faster
    one, gradients, params = loss_and_gradients(
        model, make_mesh(MeshConfig(1, 1), jax.devices()[:1])
    )
    many, others, _ = loss_and_gradients(model, make_mesh(MeshConfig(2, 2, 2)), params)
    assert abs(one - many) < 5e-6
    leaves = zip(jax.tree.leaves(gradients), jax.tree.leaves(others), strict=True)
    for here, there in leaves:
        np.testing.assert_allclose(there, here, atol=1e-5 * (np.abs(here).max() + 1e-3), rtol=0)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))
