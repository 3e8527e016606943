"""Reads folders of the library sentence-transformers: modules.json and the files that it names."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.convert import hf_weights
from bert_jax.convert.foreign import read_json
from bert_jax.inference.sentence_embedding import ACTIVATIONS, MODES, Layer, SentenceEmbedding

MODULES, PROMPTS = 'modules.json', 'config_sentence_transformers.json'
# The keys of 1_Pooling/config.json in old versions, in the order in which vectors are joined.
OLD_MODES = {
    'pooling_mode_cls_token': 'cls',
    'pooling_mode_max_tokens': 'max',
    'pooling_mode_mean_tokens': 'mean',
    'pooling_mode_mean_sqrt_len_tokens': 'mean_sqrt_len_tokens',
    'pooling_mode_weightedmean_tokens': 'weightedmean',
    'pooling_mode_lasttoken': 'lasttoken',
}
# Older names of the module Transformer: the library had one for each family.
OLD_ENCODERS = ('BERT', 'RoBERTa', 'DistilBERT', 'ALBERT', 'CamemBERT', 'XLMRoBERTa', 'XLNet')
SUPPORTED = ('Transformer', 'Pooling', 'Dense', 'Normalize', 'LayerNorm', 'Dropout')
ALONE = f'remove {MODULES} to convert the encoder alone'


@dataclasses.dataclass(frozen=True)
class SentenceFolder:
    """A folder of sentence-transformers. model: the folder of its encoder and tokenizer. embedding:
    how it embeds texts; None if the folder does not say this. note: a line about this, or ''."""

    model: pathlib.Path
    embedding: SentenceEmbedding | None
    note: str = ''


def read(directory: pathlib.Path) -> SentenceFolder:
    """Returns the folder of the encoder, and how the model embeds texts.

    Raises ValueError, which names the file and the key, for modules that bert_jax does not have.
    """
    path = directory / MODULES
    if not path.exists():
        parts = ', '.join(sorted(found.parent.name for found in directory.glob('?_*/config.json')))
        note = f'{path} does not exist, so these folders are not read: {parts}' if parts else ''
        return SentenceFolder(directory, None, note)
    found = _modules(path)
    if not found or found[0][0] != 'Transformer':
        first = found[0][0] if found else 'none'
        raise ValueError(f'{path}: the first module is {first}; expected Transformer')
    model = directory / found[0][1]
    poolings, include_prompt, layers = tuple[str, ...](), True, list[Layer]()
    for kind, name in found[1:]:
        folder = directory / name
        if kind == 'Pooling':
            poolings, include_prompt = _pooling(folder / 'config.json')
        elif kind == 'Dense':
            layers.append(_dense(folder))
        elif kind == 'LayerNorm':
            arrays = {k.removeprefix('norm.'): x for k, x in _tensors(folder).items()}
            layers.append(Layer('layer_norm', arrays=arrays))
        elif kind == 'Normalize':
            _check_source(folder / 'config.json')
            layers.append(Layer('normalize'))
        if kind in ('Dense', 'LayerNorm') and not poolings:
            raise ValueError(
                f'{path}: {kind} comes before Pooling, which bert_jax does not support; {ALONE}'
            )
    if not poolings:
        return SentenceFolder(model, None)  # a cross-encoder has no pooling
    prompts = read_json(directory / PROMPTS) if (directory / PROMPTS).exists() else {}
    settings = _settings(model)
    embedding = SentenceEmbedding(
        poolings=poolings,
        layers=tuple(layers),
        max_seq_length=settings.get('max_seq_length') or model_max_length(model),
        lowercase=bool(settings.get('do_lower_case')),
        prompts={str(k): str(x) for k, x in (prompts.get('prompts') or {}).items()},
        default_prompt=_default_prompt(prompts, directory / PROMPTS),
        include_prompt=include_prompt,
    )
    return SentenceFolder(model, embedding, f'sentence embeddings: {embedding}')


def model_max_length(directory: pathlib.Path) -> int | None:
    """Returns the longest row according to tokenizer_config.json; None if it does not say this."""
    path = directory / 'tokenizer_config.json'
    length = read_json(path).get('model_max_length') if path.exists() else None
    return int(length) if isinstance(length, int | float) and 0 < length < 1 << 30 else None


def _modules(path: pathlib.Path) -> list[tuple[str, str]]:
    """Returns (kind, folder) of each module. Raises ValueError for a kind that is not supported."""
    try:
        values = json.loads(path.read_text('utf-8-sig'))
        found = [(str(x['type']).rpartition('.')[2], str(x['path'])) for x in values]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} is not a list of modules with type and path: {error}') from error
    found = [('Transformer' if x in OLD_ENCODERS else x, folder) for x, folder in found]
    for kind, _ in found:
        if kind not in SUPPORTED:
            raise ValueError(
                f'{path} has the module {kind}; bert_jax has {", ".join(SUPPORTED)}; {ALONE}'
            )
    return found


def _pooling(path: pathlib.Path) -> tuple[tuple[str, ...], bool]:
    """Returns the modes of pooling, and whether the pooling includes the tokens of the prompt."""
    values = read_json(path)
    stated = values.get('pooling_mode')
    if stated is None:
        chosen = {key for key, x in values.items() if x and key.startswith('pooling_mode_')}
        stated = [mode for key, mode in OLD_MODES.items() if key in chosen]
        stated = [*stated, *sorted(chosen - OLD_MODES.keys())] or ['mean']
    modes = (stated,) if isinstance(stated, str) else tuple(stated)
    if wrong := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f'{path}: the pooling is {wrong[0]!r}; expected {", ".join(MODES)}')
    return modes, bool(values.get('include_prompt', True))


def _check_source(path: pathlib.Path) -> dict[str, Any]:
    values = read_json(path) if path.exists() else {}
    for key in ('module_input_name', 'module_output_name'):
        if (name := values.get(key)) not in (None, 'sentence_embedding'):
            raise ValueError(f"{path}: {key} is {name!r}; expected 'sentence_embedding'; {ALONE}")
    return values


def _dense(folder: pathlib.Path) -> Layer:
    path = folder / 'config.json'
    values = _check_source(path)
    stated = str(values.get('activation_function') or 'torch.nn.modules.activation.Tanh')
    activation = stated.rpartition('.')[2]
    if activation not in ACTIVATIONS:
        raise ValueError(
            f'{path}: activation_function is {stated}; expected {", ".join(ACTIVATIONS)}; {ALONE}'
        )
    tensors = _tensors(folder)
    names = {'linear.weight': 'weight', 'linear.bias': 'bias', 'residual.weight': 'residual'}
    if 'linear.weight' not in tensors or tensors.keys() - names.keys():
        raise ValueError(f'{folder} has the tensors {sorted(tensors)}; expected {[*names]}')
    arrays = {names[name]: x for name, x in tensors.items()}
    shape = (values.get('out_features'), values.get('in_features'))
    if arrays['weight'].shape != shape:
        raise ValueError(
            f'{folder}: linear.weight is {list(arrays["weight"].shape)}; config.json says '
            f'{list(shape)}'
        )
    return Layer('dense', activation, bool(values.get('use_residual')), arrays)


def _tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    for name in hf_weights.FORMATS:
        if (folder / name).exists():
            found = hf_weights.read_file(folder / name)
            return {key: x.astype(np.float32) for key, x in found.items()}
    raise ValueError(f'{folder} has no {" or ".join(hf_weights.FORMATS)}')


def _settings(model: pathlib.Path) -> dict[str, Any]:
    """Returns the values of sentence_bert_config.json. For other families the file has another
    name, such as sentence_roberta_config.json."""
    paths = sorted(model.glob('sentence_*_config.json'))
    return read_json(paths[0]) if paths else {}


def _default_prompt(values: Mapping[str, Any], path: pathlib.Path) -> str:
    name = values.get('default_prompt_name') or ''
    if name and name not in (values.get('prompts') or {}):
        raise ValueError(f'{path}: default_prompt_name is {name!r}, but prompts has no such name')
    return str(name)
