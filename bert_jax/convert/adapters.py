"""Reads adapters of the library peft. LoRA (Hu et al., 2022) is merged into its base model; other
adapters are refused."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.convert import hf_weights, hub
from bert_jax.convert.families.family import Family
from bert_jax.convert.foreign import read_json

CONFIG, WEIGHTS = 'adapter_config.json', ('adapter_model.safetensors', 'adapter_model.bin')
# Weights that the library AdapterHub saves.
OF_ADAPTERHUB = ('pytorch_adapter.bin', 'adapter.safetensors')
# Keys that change what LoRA computes, unless their value is empty. bert_jax does not merge these.
REFUSED = (
    'use_dora',
    'layer_replication',
    'use_qalora',
    'trainable_token_indices',
    'alora_invocation_tokens',
)
PREFIX = 'base_model.model.'
MERGE = 'merge it with peft (merge_and_unload), and save the result with save_pretrained'
# The class that an adapter's task_type asks for, without the name of the family.
CLASSES = {
    'SEQ_CLS': 'ForSequenceClassification',
    'TOKEN_CLS': 'ForTokenClassification',
    'QUESTION_ANS': 'ForQuestionAnswering',
}


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A LoRA adapter. folder: its folder. values: its adapter_config.json. base: the folder of the
    model that it changes. tensors: its tensors, by their names in the model."""

    folder: pathlib.Path
    values: Mapping[str, Any]
    base: pathlib.Path
    tensors: Mapping[str, np.ndarray]

    def merged(self, tensors: Mapping[str, np.ndarray], family: Family) -> dict[str, np.ndarray]:
        """Returns the model's tensors after the changes of the adapter. Raises ValueError if a
        tensor of the adapter fits no tensor of the model."""
        result, used = dict(tensors), set[str]()
        for name, low in self.tensors.items():
            match = re.fullmatch(r'(.*)\.lora_(embedding_)?A(?:\.default)?(?:\.weight)?', name)
            if match is None:
                continue
            other = name.replace('lora_A', 'lora_B').replace('lora_embedding_A', 'lora_embedding_B')
            weight = self._place(f'{match[1]}.weight', result, family)
            if other not in self.tensors or weight not in result:
                missing = other if other not in self.tensors else f'{match[1]}.weight'
                raise ValueError(f'{self.folder}: {name} needs {missing}, which is missing')
            low, high = low.astype(np.float32), self.tensors[other].astype(np.float32)
            change = self._scale(match[1], len(low)) * (high @ low)
            if match[2] or self.values.get('fan_in_fan_out'):
                change = change.T
            if change.shape != result[weight].shape:
                raise ValueError(
                    f'{self.folder}: {name} changes {list(change.shape)}, but {weight} is '
                    f'{list(result[weight].shape)}'
                )
            result[weight] = result[weight].astype(np.float32) + change
            used |= {name, other}
        for name in self.tensors.keys() - used:  # layers that were trained as a whole
            plain = re.sub(
                r'\.(modules_to_save(\.default)?|base_layer|original_module)\b', '', name
            )
            if '.lora_' in name:
                raise ValueError(f'{self.folder}: bert_jax does not know {name}; {MERGE}')
            result[self._place(plain, result, family)] = self.tensors[name]
        return result

    def _place(self, name: str, tensors: Mapping[str, Any], family: Family) -> str:
        """Returns the name of a tensor in the model, which may have the prefix of the family."""
        prefixed = family.prefix + name
        return prefixed if name not in tensors and prefixed in tensors else name

    def _scale(self, module: str, rank: int) -> float:
        alpha = self.values.get('lora_alpha', 8)
        for pattern, value in (self.values.get('alpha_pattern') or {}).items():
            if re.match(rf'(.*\.)?({pattern})$', module):
                alpha = value
        return alpha / (math.sqrt(rank) if self.values.get('use_rslora') else rank)

    def classes(self, family: Family) -> list[str]:
        """Returns the names of the classes with the head that the adapter was trained with."""
        end = CLASSES.get(str(self.values.get('task_type')), '')
        return [name for name in family.classes if end and end in name]


def read(directory: pathlib.Path) -> Adapter | None:
    """The adapter in a folder; None if it has none.

    Raises ValueError for an adapter that is not a plain LoRA, for a folder that has the weights of
    a model as well, and if the base model cannot be found.
    """
    path = directory / CONFIG
    names = (*WEIGHTS, *OF_ADAPTERHUB)
    weights = [directory / name for name in names if (directory / name).exists()]
    if not path.exists():
        if weights:
            raise ValueError(
                f'{directory} has {weights[0].name}, the weights of an adapter, but no {CONFIG}, '
                f'which says how to merge it; add {CONFIG}, or remove {weights[0].name}'
            )
        return None
    values = read_json(path)
    kind = values.get('peft_type') or f'{values.get("config", "unknown")!s:.40}'
    base = values.get('base_model_name_or_path') or values.get('model_name')
    what = f'{directory} has an adapter ({kind}) of {base}'
    if any((directory / name).exists() for name in hf_weights.FORMATS):
        raise ValueError(
            f'{what} beside the weights of a model, and nothing says whether these include it. If '
            f'they do, remove {CONFIG}. Otherwise remove the weights, and the adapter is merged '
            'into its base'
        )
    if kind != 'LORA':
        raise ValueError(f'{what}; bert_jax merges LORA only; {MERGE}')
    for key in REFUSED:
        if values.get(key):
            raise ValueError(
                f'{path}: {key} is {values[key]!r}; bert_jax does not merge such adapters; {MERGE}'
            )
    if not weights:
        raise ValueError(f'{what}, but none of {", ".join(WEIGHTS)}')
    found = hf_weights.read_file(weights[0])
    if not found:
        raise ValueError(f'{weights[0]} has no tensors; save the adapter again')
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in found.items()}
    return Adapter(directory, values, _base(directory, str(base or ''), what), tensors)


def _base(directory: pathlib.Path, name: str, what: str) -> pathlib.Path:
    """Returns the folder of the base model. `name` is a folder, a folder inside or beside that of
    the adapter, or a name on the Hub."""
    for folder in (pathlib.Path(name).expanduser(), directory / name, directory.parent / name):
        if name and (folder / 'config.json').exists():
            return folder
    try:
        if (found := hub.local_folder(name)) is not None:
            return found
        raise ValueError(f'{name!r} is not a folder')
    except ValueError as error:
        raise ValueError(
            f'{what}, which cannot be read: {error}. Put the folder of the base model into '
            f'base_model_name_or_path of {directory / CONFIG}'
        ) from error
