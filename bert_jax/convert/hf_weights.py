"""The tensors of a Hugging Face folder: safetensors or pytorch_model.bin, whole or sharded."""

import dataclasses
import json
import pathlib
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.config.errors import first_line
from bert_jax.convert import whole_files
from bert_jax.convert.families.family import Family
from bert_jax.convert.foreign import read_json
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.embeddings import sinusoids

FORMATS = ('model.safetensors', 'pytorch_model.bin')  # in the order of preference
OLD_NAMES = {'LayerNorm.gamma': 'LayerNorm.weight', 'LayerNorm.beta': 'LayerNorm.bias'}
NESTS = ('model', 'state_dict', 'model_state_dict')  # keys of a training checkpoint
INSTEAD = 'download model.safetensors instead'
PLAIN = "the tensors alone: torch.save(model.state_dict(), 'pytorch_model.bin')"
# Modules of PyTorch that wrap a part of a model, by their names inside the names of tensors.
WRAPPED = re.compile(r'\b(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.')
UNMERGED = re.compile(r'\.lora_|\.base_layer\.|\.original_module\.')  # names of the library peft


def read_tensors(
    directory: pathlib.Path, family: Family
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """All tensors of a folder, by their names in new versions of transformers, and the parts of
    their names that were removed, because they come from wrappers. Raises ValueError with the file
    that is missing or damaged."""
    for name in FORMATS:
        index = directory / f'{name}.index.json'
        if (directory / name).exists():
            files: dict[pathlib.Path, set[str]] = {directory / name: set()}
        elif index.exists():
            files = _shards(index)
        else:
            continue
        tensors: dict[str, np.ndarray] = {}
        for path, expected in files.items():
            shard = read_file(path)
            if absent := sorted(expected - set(shard)):
                raise ValueError(f'{path} has no tensor {absent[0]}; {index} says that it has')
            tensors |= shard
        return _renamed(tensors, family, directory)
    raise ValueError(
        f'{directory} has no weights: none of {", ".join(FORMATS)}, whole or sharded'
        f'{whole_files.other_weights(directory)}'
    )


def read_file(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors in a file of safetensors or PyTorch. Its first bytes decide which one it is, not
    its name. Raises ValueError if it is neither."""
    whole_files.check(path)
    with path.open('rb') as file:
        first = file.read(9)
    is_pickle = first.startswith((b'PK\x03\x04', b'\x80'))
    if first[8:] == b'{' or (path.suffix == '.safetensors' and not is_pickle):
        return _read_safetensors(path)
    return _read_pickle(path)


def _renamed(
    tensors: Mapping[str, np.ndarray], family: Family, directory: pathlib.Path
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the tensors by their names without wrappers, and the removed parts of the names.

    The prefix of a wrapper, such as DataParallel's `module.`, is removed. The prefix of the family,
    which a folder of the bare encoder lacks, is added.
    """
    inner = {match[0] for name in tensors for match in WRAPPED.finditer(name)}
    tensors = {WRAPPED.sub('', name): tensor for name, tensor in tensors.items()}
    wrapper = _wrapper(tensors, family, directory)
    prefix, renamed = family.prefix, {}
    names = (name for rule in family.rules for name in (rule.theirs, rule.last))
    roots = {name.removeprefix(prefix).split('.')[0] for name in names if name.startswith(prefix)}
    for name, tensor in tensors.items():
        name = name.removeprefix(wrapper)
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
        if name.split('.')[0] in roots:
            name = prefix + name
        if name in renamed:
            raise ValueError(f'the folder has tensor {name} twice, under an old and a new name')
        renamed[name] = tensor
    return renamed, tuple(filter(None, (wrapper, *sorted(inner))))


def notes_about(left_out: Sequence[str]) -> list[str]:
    """The lines to print about the parts of the names of tensors that were removed."""
    return [f'the names of tensors are read without {" and ".join(left_out)}'] if left_out else []


def without_copies(
    tensors: Mapping[str, np.ndarray], family: Family, model: ModelConfig
) -> tuple[ModelConfig, dict[str, np.ndarray], dict[str, str]]:
    """Returns the model, the tensors without copies, and the reason for each tensor that is left
    out.

    A file may hold the table of the masked-LM decoder beside that of the word embeddings, and the
    bias of the decoder twice. If the two tables differ, the model has untied embeddings.
    """
    used, unused = dict(tensors), dict[str, str]()
    if family.decoder in used and model.tie_word_embeddings:
        if np.array_equal(used[family.decoder], used.get(family.words, ())):
            del used[family.decoder]
            unused[family.decoder] = f'the same as {family.words}'
        else:
            model = dataclasses.replace(model, tie_word_embeddings=False)
    copy = family.decoder_bias
    if copy != family.bias and copy in used:
        bias = used.pop(copy)  # transformers uses this bias
        if np.array_equal(bias, used.get(family.bias, bias)):
            unused[copy] = f'the same as {family.bias}'
        else:
            unused[family.bias] = f'{copy} differs from it, and transformers uses {copy}'
        used[family.bias] = bias
    return model, used, unused


def _wrapper(tensors: Mapping[str, np.ndarray], family: Family, directory: pathlib.Path) -> str:
    """Returns the prefix of a wrapper before the family's names of tensors, such as `module.`; ''
    if there is none.

    Raises ValueError if there are several encoders, or layers of an adapter that is not merged.
    """
    if unmerged := [name for name in tensors if UNMERGED.search(name)]:
        raise ValueError(
            f'{directory} has the weights of an adapter (peft) that is not merged, such as '
            f'{unmerged[0]}; call model.merge_and_unload() and save the result'
        )
    words = family.words.removeprefix(family.prefix)
    found = [name for name in tensors if f'.{name}'.endswith(f'.{words}')]
    wrappers = {name.removesuffix(words).removesuffix(family.prefix) for name in found}
    if len(wrappers) > 1:
        names = ', '.join(sorted(map(repr, wrappers)))
        raise ValueError(
            f'{directory} holds {len(wrappers)} encoders: the names of their tensors begin with '
            f'{names}; save the one that you want with save_pretrained'
        )
    return next(iter(wrappers), '')


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


def write(
    directory: pathlib.Path,
    tensors: Mapping[str, np.ndarray],
    family: Family,
    values: Mapping[str, Any],
) -> None:
    """Writes the tensors and config.json. The decoder's bias is written under both of its names.
    values: the content of config.json."""
    second = {family.decoder_bias: tensors[family.bias]} if family.decoder in tensors else {}
    _safetensors().numpy.save_file(
        {**tensors, **second}, directory / FORMATS[0], metadata={'format': 'pt'}
    )
    (directory / 'config.json').write_text(json.dumps(values, indent=2) + '\n')


def convert_positions(
    arrays: dict[str, np.ndarray], source: Pretrained
) -> tuple[ModelConfig, list[str]]:
    """Changes the tables of positions in `arrays` to tables as transformers has them; returns the
    model with these tables, and lines to print.

    transformers has a table instead of sinusoids, and its first position is the id of padding plus
    one.
    """
    config, notes = source.config, []
    pad = source.vocabulary.specials.pad if source.vocabulary else config.position_offset - 1
    if config.position_embedding_type == 'sinusoidal':
        table = sinusoids(config.max_position_embeddings, config.embedding_width)
        sides = [path for path in arrays if path.endswith('embeddings/word_embeddings')]
        arrays |= {path.replace('word', 'position'): table for path in sides}
        config = dataclasses.replace(config, position_embedding_type='absolute')
        notes.append('the positions are written as a table, which transformers trains')
    if config.position_offset and config.position_offset != pad + 1:
        for path in arrays:
            if path.endswith('embeddings/position_embeddings'):
                used = arrays[path][config.position_offset :]
                unused = np.zeros((pad + 1, *used.shape[1:]), used.dtype)
                arrays[path] = np.concatenate([unused, used])
        rows = config.longest_row + pad + 1
        config = dataclasses.replace(config, position_offset=pad + 1, max_position_embeddings=rows)
        notes.append(f'the table of positions starts at row {pad + 1}, for the padding id {pad}')
    return config, notes


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ValueError(f'{FORMATS[0]} needs safetensors: pip install bert_jax[hf]') from error
    return safetensors


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    library = _safetensors()
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
        with path.open('rb') as file:  # torch would choose the format by the name
            content = torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises errors of many types
        message = first_line(error)
        if isinstance(error, pickle.UnpicklingError):  # its advice is to run the code
            message = f'it holds Python objects, whose loading could run code. Save {PLAIN}'
        raise ValueError(f'{path} is not a checkpoint of plain tensors: {message}') from error
    tensors = _nested(content, path, torch.Tensor)
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
        for name, tensor in tensors.items()
    }


def _nested(content: Any, path: pathlib.Path, kind: type) -> dict[str, Any]:
    """The tensors by name, which may be under a key such as `state_dict`.

    Raises ValueError if there are none, or several objects with tensors under unknown keys.
    """
    values = content if isinstance(content, Mapping) else {}
    if tensors := _of_type(values, kind):
        return tensors
    inner = _of_type(values, Mapping)
    # The first one of the usual keys or, if there is none, all keys with tensors.
    chosen = [name for name in NESTS if name in inner][:1]
    chosen = chosen or [name for name, x in inner.items() if _of_type(x, kind)]
    if len(chosen) == 1:
        tensors = _nested(inner[chosen[0]], path, kind)
        others = [x for x in inner if x != chosen[0] and {*inner[x]} & {*tensors}]
        if others:
            raise ValueError(
                f'{path} holds several sets of tensors, {chosen[0]!r} and {others[0]!r}; save the '
                "one that you want: torch.save(content[KEY], 'pytorch_model.bin')"
            )
        return tensors
    what = 'an object' if not isinstance(content, Mapping) else f'the keys {list(content)[:8]}'
    raise ValueError(f'{path} is not a checkpoint of plain tensors: it holds {what}; save {PLAIN}')


def _of_type(values: Mapping[Any, Any], kind: type) -> dict[str, Any]:
    """Returns the values of the type `kind` whose keys are strings."""
    return {name: x for name, x in values.items() if isinstance(x, kind) and isinstance(name, str)}
