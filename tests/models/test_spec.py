"""The number of parameters, and the dtype, the logical axes and the shape of each.

PYTHONPATH=tests python tests/models/test_spec.py
    writes the golden files again
"""

import runpy

import jax
import pytest
from tiny_model import ROOT

from bert_jax.config import ModelConfig, from_dict
from bert_jax.parallel.sharding import is_boxed
from bert_jax.tasks.pretraining import PretrainTask

CONFIGS = ('tiny', 'base', 'large')
GOLDEN = ROOT / 'tests' / 'golden'
# The encoder with its pooler, with the original vocabulary.
ENCODERS = {'base': 109_482_240, 'large': 335_141_888}


def model_of(name: str) -> ModelConfig:
    """Returns the model of a file in configs/."""
    config = runpy.run_path(str(ROOT / 'configs' / f'{name}.py'))['get_config']()
    return from_dict(config.to_dict()).model


def parameters(name: str) -> list[tuple[str, jax.Array, tuple[str, ...]]]:
    task = PretrainTask(model_of(name))
    tree = jax.eval_shape(lambda: task.init(jax.random.key(0)))
    return [
        (jax.tree_util.keystr(path, simple=True, separator='/'), leaf.value, leaf.names)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_boxed)
    ]


def spec(name: str) -> str:
    lines = (
        f'{path} {leaf.dtype} {",".join(axes)} {"x".join(map(str, leaf.shape))}\n'
        for path, leaf, axes in parameters(name)
    )
    return ''.join(lines)


@pytest.mark.parametrize('name', CONFIGS)
def test_parameters_are_the_golden_ones(name: str) -> None:
    assert spec(name) == (GOLDEN / f'params_{name}.txt').read_text()


@pytest.mark.parametrize('name', ENCODERS)
def test_parameter_counts_are_the_papers(name: str) -> None:
    model = model_of(name)
    sizes = {path: leaf.size for path, leaf, _ in parameters(name)}
    encoder = sum(n for path, n in sizes.items() if path.startswith(('encoder/', 'pooler/')))
    assert encoder == ENCODERS[name]
    width = model.hidden_size
    heads = width * width + width + 2 * width + model.vocab_size + 2 * width + 2
    assert sum(sizes.values()) == encoder + heads


if __name__ == '__main__':
    GOLDEN.mkdir(exist_ok=True)
    for each in CONFIGS:
        (GOLDEN / f'params_{each}.txt').write_text(spec(each))
