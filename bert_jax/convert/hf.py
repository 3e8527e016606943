"""Folders of a Hugging Face encoder: config.json, weights and a vocabulary."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.config.console import plural
from bert_jax.convert import (
    adapters,
    encoder_decoder,
    hf_rows,
    hf_tokenizer,
    hf_weights,
    rules,
    sentence_folders,
    whole_files,
)
from bert_jax.convert.families import FAMILIES, heads_of_class
from bert_jax.convert.families.family import Family
from bert_jax.convert.foreign import (
    Foreign,
    read_json,
    read_model,
    special_ids,
    task_of,
    task_values,
    why_unused,
)
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import DECODER, TASK_HEADS, head_of


def read(folder: pathlib.Path, lowercase: bool | None = None, model_type: str = '') -> Foreign:
    """The checkpoint in a folder.

    lowercase: whether text is lowercased, if the folder does not say it. model_type: the family, if
    config.json does not name it. Raises ValueError naming the file or the tensor that is wrong.
    """
    sentences, adapter = sentence_folders.read(folder), adapters.read(folder)
    directory = adapter.base if adapter else sentences.model
    path = _config(directory)
    values = read_json(path)
    if values.get('model_type') == encoder_decoder.MODEL_TYPE:
        return encoder_decoder.read(directory, lowercase)
    if model_type:
        values['model_type'] = model_type
    family, model = read_model(values, path)
    notes = [sentences.note] if sentences.note else []
    notes += _notes_about_keys(values, family, path)
    tensors, left_out = hf_weights.read_tensors(directory, family)
    notes += hf_weights.notes_about(left_out)
    other = next((name for name in left_out if name.removesuffix('.') in FAMILIES), '')[:-1]
    if values.get('model_type') is None and other and other != family.model_type:
        return read(folder, lowercase, other)  # as the prefix says
    if adapter:
        tensors = adapter.merged(tensors, family)
        values = values | {'architectures': adapter.classes(family) or values.get('architectures')}
        notes.append(f'the adapter (LORA) is merged into {directory}')
    if not any(name.startswith(family.prefix) for name in tensors):
        some = ', '.join(sorted(tensors)[:3]) or 'no tensors'
        raise ValueError(f'{directory} holds no {family.model_type} encoder; it has {some}')
    model, used, unused = hf_weights.without_copies(tensors, family, model)
    heads = _heads(tensors, family, model, values)
    known = rules.names_of(heads, family.rules, model)
    of_tasks = rules.names_of(TASK_HEADS, family.rules, model)
    for name in used.keys() - known:
        if name in of_tasks:
            unused[name] = _of_no_class(values, family)
        else:
            unused[name] = why_unused(name, family, known, path)
        del used[name]
    texts = adapter.folder if adapter and tokenizer.find(adapter.folder) else directory
    vocabulary, more = hf_tokenizer.read(texts, lowercase, model.vocab_size, model.model_type)
    model, lines = hf_rows.with_rows(model, texts, vocabulary, heads)
    outputs = _outputs(used, family, heads)
    return Foreign(
        family.rules,
        model,
        heads,
        used,
        unused,
        vocabulary,
        task_of(values, outputs),
        (*notes, *more, *lines, *_notes_about_output(values, outputs, heads)),
        language=_language(model, values),
        embedding=sentences.embedding,
        longest=sentence_folders.model_max_length(texts),
    )


def _config(directory: pathlib.Path) -> pathlib.Path:
    """The path of config.json. Raises ValueError with advice if the folder has no such file, or if
    it is the folder of another format."""
    path = directory / 'config.json'
    names = ('config.json', sentence_folders.MODULES, adapters.CONFIG)
    if not path.exists() and (inner := whole_files.inner_folders(directory, names)):
        raise ValueError(inner)
    if not path.exists() and any(directory.glob('*.index')):
        raise ValueError(f'{directory} has a checkpoint of TensorFlow; use --from=tf1')
    if isinstance(read_json(path).get('model'), dict):
        raise ValueError(f'{directory} is a folder of bert_jax, which needs no conversion')
    return path


def _notes_about_keys(
    values: Mapping[str, Any], family: Family, path: pathlib.Path
) -> Iterator[str]:
    """Lines about keys of config.json that bert_jax does not follow."""
    if read_json(path).get('model_type') is None and family.model_type != 'bert':
        yield f'{path} has no model_type; its keys or tensors are those of {family.model_type}'
    if own_code := values.get('auto_map'):
        yield (
            f'{path} names its own code in auto_map ({own_code!r}). bert_jax does not run this '
            'code, so its outputs may differ'
        )
    if unknown := family.unknown(values):
        keys = ', '.join(f'{key}={values[key]!r}' for key in unknown)
        yield f'{path} has unknown keys, which bert_jax ignores: {keys}'


def _notes_about_output(
    values: Mapping[str, Any], outputs: int | None, heads: Iterable[str]
) -> list[str]:
    """Returns a line if other programs apply a function to the only output of a text classifier."""
    if outputs != 1 or 'classifier' not in heads or values.get('problem_type') is not None:
        return []
    stated = (values.get('sentence_transformers') or {}).get('activation_fn')
    function = str(stated or values.get('sbert_ce_default_activation_function') or 'Sigmoid')
    if function.endswith('Identity'):
        return []
    return [
        'the classifier has one output, and bert_jax predicts this output itself, as for a '
        'regression. Unless it is one, CrossEncoder and the pipeline of transformers apply a '
        f'function to it first, such as {function.rpartition(".")[2]}'
    ]


def _language(model: ModelConfig, values: Mapping[str, Any]) -> str:
    """The language of texts, if none is given: that of lang_id. 0 is the default of lang_id, and
    means English if the model has it."""
    names, number = model.language_names, values.get('lang_id') or 0
    if not names:
        return ''
    if number not in range(len(names)):
        raise ValueError(f'lang_id is {number!r}; expected 0 to {len(names) - 1}, as in lang2id')
    return 'en' if 'en' in names and not number else names[number]


def _of_no_class(values: Mapping[str, Any], family: Family) -> str:
    """The reason why tensors of a task head are not used, if no class has this head."""
    named = ', '.join(values.get('architectures') or ()) or 'no class'
    choices = ' or '.join(
        repr(kind) for kind, heads in family.classes.items() if {*TASK_HEADS} & {*heads}
    )
    return f'of a head, but architectures in config.json names {named}; known are {choices}'


def _heads(
    tensors: Mapping[str, np.ndarray], family: Family, model: ModelConfig, values: Mapping[str, Any]
) -> tuple[str, ...]:
    """The heads that the tensors belong to.

    Tensors of several heads may have the same names, such as those of the classifier and of the
    tagger. The class in config.json decides between these heads.
    """
    architectures = values.get('architectures') or ()
    named = {head for name in architectures for head in heads_of_class(name, family)}
    heads = rules.heads_of(tensors, family.rules, model)
    ambiguous = {'tagger', *(('classifier',) if architectures else ())}
    chosen = [x for x, alone in heads.items() if x in named or (alone and x not in ambiguous)]
    # Some tensors belong to a head only beside another head, such as RoBERTa's classifier.dense.
    return tuple(
        head
        for head in chosen
        if any(
            rule.theirs in tensors and rule.applies(chosen)
            for rule in family.rules
            if head_of(rule.ours) == head
        )
    )


def _outputs(tensors: Mapping[str, np.ndarray], family: Family, heads: Iterable[str]) -> int | None:
    """The number of outputs of the classifier or the tagger; None if there is neither."""
    for rule in family.rules:
        if rule.ours in ('classifier/kernel', 'tagger/kernel') and head_of(rule.ours) in heads:
            return len(tensors[rule.theirs]) if rule.theirs in tensors else None
    return None


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes a folder that transformers reads; returns lines to print."""
    if DECODER in source.heads:
        return encoder_decoder.write(directory, source)
    family = FAMILIES[source.config.model_type]
    arrays = source.arrays()
    config, notes = hf_weights.convert_positions(arrays, source)
    architecture = _class_of(family, source.heads)
    heads = family.classes[architecture]
    if left_out := [head for head in source.heads if head not in heads]:
        others = ' and '.join(source.heads)
        notes.append(
            f'the {" and the ".join(left_out)} is left out: transformers has no '
            f'{family.model_type} with only {others}'
        )
    values = {
        'architectures': [architecture],
        'dtype': 'float32',
        **family.values(config, heads),
        **task_values(source),
    }
    if languages := config.language_names:
        values['lang_id'] = languages.index(source.data.language or languages[0])
    if source.vocabulary:
        values |= special_ids(source.vocabulary, ('pad_token_id', *family.special_ids))
    kept = {'encoder', *heads}
    tensors = rules.to_theirs(
        {path: array for path, array in arrays.items() if head_of(path) in kept}, family.rules
    )
    if architecture == next(iter(family.classes)):
        tensors = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    hf_weights.write(directory, tensors, family, values)
    notes += hf_tokenizer.write(directory, source)
    count = sum(tensor.size for tensor in tensors.values())
    (directory / 'README.md').write_text(_card(architecture, source.config, count))
    return notes


def _class_of(family: Family, heads: Iterable[str]) -> str:
    """The class of transformers that has the most of these heads, and no others.

    A pooler counts less than any other head, because the other heads hold the result of the
    training. The bare encoder is the last choice; it may have a pooler that the model does not
    have.
    """
    fitting = {name: {*x} for name, x in family.classes.items() if {*x} <= {*heads}}
    return max(
        fitting,
        key=lambda name: (len(fitting[name] - {'pooler'}), len(fitting[name])),
        default=next(iter(family.classes)),
    )


def _card(architecture: str, model: ModelConfig, count: int) -> str:
    return f"""---
library_name: transformers
tags: [{model.model_type}, bert_jax]
---

# {architecture}, written by bert_jax

{count:,} parameters: {plural(model.num_hidden_layers, 'layer')}, hidden size {model.hidden_size},
{model.num_attention_heads} heads, {model.vocab_size:,} tokens, up to {model.longest_row} positions.

    from transformers import AutoTokenizer, {architecture}

    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = {architecture}.from_pretrained(FOLDER)

Describe here the model's training data, its intended use and its limits.
"""
