"""A trained model as a StableHLO program, which JAX and other compilers run without bert_jax."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from bert_jax import __version__
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.token_arrays import INPUTS
from bert_jax.models.inputs import EncoderInputs
from bert_jax.training.initialization import unflatten

PROGRAM, PORTABLE = 'program.jax_export', 'program.stablehlo'
PARAMETERS, FACTS = 'parameters.npz', 'export.json'
PLATFORMS = ('cpu', 'cuda', 'tpu')
SENTENCE = 'sentence_embedding'  # the name of an output


def export(source: Pretrained) -> jax.export.Exported:
    """Returns the program of a model, for any number of texts of any length up to its positions.

    The arguments of the program are the parameters, {path: float32 array}, and a batch, {name:
    int32[batch, length]} with the names of INPUTS. It returns float32 arrays by name: those of
    `Bert.apply`, and sentence_embedding [batch, size] if the checkpoint has a sentence embedding.
    """
    model, sentences = source.model, source.embedding

    def compute(params: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
        outputs: Any = model.apply(
            {'params': unflatten(dict(params))}, EncoderInputs.from_batch(batch)
        )
        results = {name: x.astype(jnp.float32) for name, x in outputs.items()}
        if sentences is not None:
            hidden, mask = results['last_hidden_state'], batch['attention_mask']
            results[SENTENCE] = sentences.pooled(hidden, mask)
        return results

    longest = f'length <= {source.config.longest_row}'
    shape = jax.export.symbolic_shape('batch, length', constraints=['batch >= 1', longest])
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.int32) for name in INPUTS}
    params = {
        path: jax.ShapeDtypeStruct(x.shape, jnp.float32) for path, x in source.arrays().items()
    }
    return jax.export.export(jax.jit(compute), platforms=PLATFORMS)(params, batch)


def save(source: Pretrained, folder: pathlib.Path) -> dict[str, Any]:
    """Writes the program, the parameters and a description of both; returns the description."""
    program = export(source)
    (folder / PROGRAM).write_bytes(program.serialize())
    (folder / PORTABLE).write_bytes(program.mlir_module_serialized)
    np.savez(folder / PARAMETERS, **source.arrays())  # type: ignore[arg-type]
    facts = _facts(source, program)
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + '\n')
    return facts


def _facts(source: Pretrained, program: jax.export.Exported) -> dict[str, Any]:
    """Returns a description of the inputs and outputs of a program, for export.json."""
    (_, batch), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
    outputs = jax.tree.unflatten(program.out_tree, program.out_avals)
    values: dict[str, Any] = {
        'bert_jax': __version__,
        'jax': jax.__version__,
        'model_type': source.config.model_type,
        'heads': source.heads,
        'dtype': source.config.dtype,
        'platforms': program.platforms,
        'longest_row': source.config.longest_row,
        'inputs': {name: _described(aval) for name, aval in batch.items()},
        'outputs': {name: _described(aval) for name, aval in outputs.items()},
    }
    if source.labels:
        values['labels'] = source.labels
        values['multi_label'] = source.multi_label
    if source.embedding is not None:
        values[SENTENCE] = str(source.embedding)
    return values


def _described(aval: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in aval.shape]
    return {'dtype': str(aval.dtype), 'shape': shape}
