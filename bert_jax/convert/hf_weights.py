"""The tensors of a Hugging Face folder: safetensors or pytorch_model.bin, whole or sharded."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.config.errors import first_line
from bert_jax.convert.families.family import Family
from bert_jax.convert.foreign import read_json

FORMATS = ('model.safetensors', 'pytorch_model.bin')  # in the order of preference
OLD_NAMES = {'LayerNorm.gamma': 'LayerNorm.weight', 'LayerNorm.beta': 'LayerNorm.bias'}
NESTS = ('model', 'state_dict', 'model_state_dict')  # keys of a training checkpoint
INSTEAD = 'download model.safetensors instead'
WRAPPERS = re.compile(r'(module\.|model\.)*')  # prefixes of DataParallel and of training frameworks


def read_tensors(directory: pathlib.Path, family: Family) -> dict[str, np.ndarray]:
    """All tensors of a folder, by their names in new versions of transformers. Raises ValueError
    with the file that is missing or damaged."""
    for name in FORMATS:
        index = directory / f'{name}.index.json'
        if (directory / name).exists():
            files: dict[pathlib.Path, set[str]] = {directory / name: set()}
        elif index.exists():
            files = _shards(index)
        else:
            continue
        read = _read_safetensors if name == FORMATS[0] else _read_pickle
        tensors: dict[str, np.ndarray] = {}
        for path, expected in files.items():
            shard = read(path)
            if absent := sorted(expected - set(shard)):
                raise ValueError(f'{path} has no tensor {absent[0]}; {index} says that it has')
            tensors |= shard
        return _renamed(tensors, family)
    raise ValueError(f'{directory} has no weights: none of {", ".join(FORMATS)}, whole or sharded')


def _renamed(tensors: Mapping[str, np.ndarray], family: Family) -> dict[str, np.ndarray]:
    """The tensors by new names. The prefix of the family, which a folder of the bare encoder lacks,
    is added."""
    prefix, renamed = family.prefix, {}
    names = (name for rule in family.rules for name in (rule.theirs, rule.last))
    roots = {name.removeprefix(prefix).split('.')[0] for name in names if name.startswith(prefix)}
    for name, tensor in tensors.items():
        name = WRAPPERS.sub('', name, count=1)
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
        if name.split('.')[0] in roots:
            name = prefix + name
        if name in renamed:
            raise ValueError(f'the folder has tensor {name} twice, under an old and a new name')
        renamed[name] = tensor
    return renamed


def _shards(index: pathlib.Path) -> dict[pathlib.Path, set[str]]:
    """The files of a sharded checkpoint, each with the tensors that should be in it."""
    files: dict[pathlib.Path, set[str]] = {}
    names = read_json(index).get('weight_map')
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f'{index}: weight_map must be an object of tensors and their files')
    for tensor, name in names.items():
        files.setdefault(index.parent / name, set()).add(tensor)
    for path in files:
        if not path.exists():
            raise ValueError(f'shard {path} is missing; {index} says {len(files)} files')
    return files


def safetensors_library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ValueError(f'{FORMATS[0]} needs safetensors: pip install bert_jax[hf]') from error
    return safetensors


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    library = safetensors_library()
    try:
        tensors: dict[str, np.ndarray] = library.numpy.load_file(path)
    except (library.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f'{path} is not a whole safetensors file: {error}') from error
    return tensors


def _read_pickle(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a pickle. PyTorch's restricted unpickler does not run code from the file.

    Raises ValueError for old versions of PyTorch, in which it can be made to (CVE-2025-32434).
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f'reading {path} needs PyTorch: pip install torch --index-url '
            f'https://download.pytorch.org/whl/cpu, or {INSTEAD}'
        ) from error
    if tuple(map(int, re.findall(r'\d+', torch.__version__)[:2])) < (2, 6):
        raise ValueError(
            f'PyTorch {torch.__version__} can be made to run code that is in {path}; '
            f"pip install 'torch>=2.6', or {INSTEAD}"
        )
    try:
        tensors = torch.load(path, map_location='cpu', weights_only=True)
        while nests := [name for name in NESTS if isinstance(tensors.get(name), dict)]:
            tensors = tensors[nests[0]]
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            for name, tensor in tensors.items()
        }
    except Exception as error:  # torch raises errors of many types
        raise ValueError(
            f'{path} is not a checkpoint of plain tensors: {first_line(error)}'
        ) from error
