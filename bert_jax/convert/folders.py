"""Conversion of a folder from another project's format to that of bert_jax, and back."""

import collections
import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from flax import linen as nn

from bert_jax import __version__
from bert_jax.config.console import plural
from bert_jax.config.files import atomic_output
from bert_jax.convert import hf, rules, tf1, whole_files
from bert_jax.convert.foreign import Foreign, full_config
from bert_jax.inference import model_dir
from bert_jax.models.encoder_decoder import model_of
from bert_jax.models.inputs import EncoderInputs
from bert_jax.training.initialization import flatten, unflatten

FORMATS = {'hf': hf, 'tf1': tf1}


def convert_out(target: str, source: pathlib.Path, output: pathlib.Path) -> None:
    """Converts a workdir or a folder of bert_jax to a folder of `target`."""
    model = model_dir.load(source).unpadded()
    with _new_folder(output) as partial:
        notes = FORMATS[target].write(partial, model)
    if model.vocabulary is None:
        notes.append('no vocabulary was written, because the checkpoint has none')
    if model.embedding is not None:
        notes.append(f'the settings of sentence embeddings are left out: {model.embedding}')
    print('\n'.join([*notes, f'wrote {output}']))


def convert_in(
    origin: str,
    folder: pathlib.Path,
    output: pathlib.Path,
    allow_missing: bool = False,
    lowercase: bool | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Converts a folder of `origin` to a folder of bert_jax.

    report: receives lines about what was converted. lowercase: whether text is lowercased, for a
    folder that does not say so; None means true.
    Raises ValueError if parameters are missing or have other shapes, and if the vocabulary looks
    cased although neither the folder nor `lowercase` says whether text is lowercased.
    """
    whole_files.check_all(folder)
    source = FORMATS[origin].read(folder, lowercase)
    heads = source.heads
    pools = source.model.summary_use_proj and 'pooler' not in heads
    if pools and {'next_sentence', 'sentence_order', 'classifier'} & {*heads}:
        heads = ('pooler', *heads)  # these heads read it; its tensors are reported as missing
    arrays, missing, unused = _parameters(source, heads, allow_missing)
    source = dataclasses.replace(source, unused={**source.unused, **unused})
    if missing:
        report(f'missing, filled with fresh values: {", ".join(missing)}')
    with _new_folder(output) as partial:
        if source.vocabulary is not None:
            lowercase = source.vocabulary.lowercase
        config = full_config(source.model, lowercase is not False, source.language, source.longest)
        data = dataclasses.replace(config.data, max_target_length=source.max_target_length)
        model_dir.save(
            partial,
            dataclasses.replace(config, data=data, eval=source.eval),
            unflatten(arrays),
            source.vocabulary,
            source.task,
            source.embedding,
        )
        found = {
            'version': __version__,
            'unused': dict(source.unused),
            'missing': missing,
            'notes': source.notes,
        }
        (partial / 'conversion.json').write_text(json.dumps(found, indent=2) + '\n')
    for line in (*_summary(source, heads, arrays), f'wrote {output}'):
        report(line)


def _parameters(
    source: Foreign, heads: tuple[str, ...], allow_missing: bool
) -> tuple[dict[str, np.ndarray], list[str], dict[str, str]]:
    """Returns the parameters by path, the names of the missing tensors, and the reason for each
    tensor that is not used."""
    num_labels = max(len(source.task.get('labels', ())), 1)
    abstract = model_dir.abstract_params(source.model, heads, num_labels)
    shapes = {path: leaf.shape for path, leaf in flatten(abstract).items()}
    arrays, needed = rules.to_ours(source.tensors, shapes, source.rules)
    missing = sorted(needed - source.tensors.keys())
    if missing and not allow_missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise ValueError(
            f'no tensor {", ".join(missing[:5])}{more}; '
            '--allow_missing fills them with fresh values'
        )
    if missing:
        fresh = rules.to_theirs(_fresh(source, heads, num_labels), source.rules)
        arrays, _ = rules.to_ours(fresh | dict(source.tensors), shapes, source.rules)
    unused = dict.fromkeys(
        source.tensors.keys() - needed, 'a parameter that a model of this configuration lacks'
    )
    return arrays, missing, unused


def _fresh(source: Foreign, heads: tuple[str, ...], num_labels: int) -> dict[str, np.ndarray]:
    """Freshly initialized parameters by path."""
    model = model_of(source.model, heads, num_labels)
    boxed = jax.jit(model.init)(jax.random.key(0), EncoderInputs.example())['params']
    return flatten(jax.device_get(nn.unbox(boxed)))


def _summary(
    source: Foreign, heads: tuple[str, ...], arrays: dict[str, np.ndarray]
) -> Iterator[str]:
    """Lines about a conversion."""
    count = sum(array.size for array in arrays.values())
    tensors = plural(len(source.tensors), 'tensor')
    yield f'{plural(count, "parameter")} from {tensors}; heads: {", ".join(heads)}'
    by_reason = collections.defaultdict(list)
    for name, reason in source.unused.items():
        by_reason[reason].append(name)
    for reason, names in by_reason.items():
        number = plural(len(names), 'tensor is', 'tensors are')
        yield f'{number} not used ({reason}){": " if len(names) == 1 else ", such as "}{min(names)}'
    if source.vocabulary is None:
        yield 'the folder has no vocabulary: the model can read token ids, but not text'
    yield from source.notes


@contextlib.contextmanager
def _new_folder(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder that becomes `output` after the block, and is removed if the block raises."""
    if output.exists():
        raise ValueError(f'{output} exists; remove it or choose another --output')
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(output) as partial:
        partial.mkdir()
        yield partial
