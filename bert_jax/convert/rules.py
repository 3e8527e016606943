"""The names of BERT's parameters in bert_jax, in Hugging Face and in google-research/bert.

One table is used for both directions. In bert_jax, layers are stacked on axis 0, and the
projections to query, key and value are one kernel [layers, embed, heads, qkv, head_dim]. The other
projects have a matrix for each layer and each projection.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np

from bert_jax.models.heads import head_of

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]

PARTS = ('query', 'key', 'value')
ENCODER = head_of('encoder')


@dataclasses.dataclass(frozen=True)
class Rule:
    """A parameter of bert_jax and its tensors in other projects, which are called families.

    ours: the path in bert_jax. hf, tf1: the name of the tensor, with {layer} and {part} (one of
    PARTS) if several tensors make up the parameter; '' if the family does not have it. flipped: the
    families whose matrix is [out, in]; in bert_jax it is [in, out].
    """

    ours: str
    hf: str
    tf1: str
    flipped: tuple[str, ...] = ()

    @property
    def stacked(self) -> bool:
        return '{layer}' in self.hf

    @property
    def fused(self) -> bool:
        return '{part}' in self.hf

    def names(self, family: str, layers: int) -> list[str]:
        """The names of the tensors, in the order of the leading axes [layers, parts]."""
        template: str = getattr(self, family)
        if not template:
            return []
        numbers = range(layers) if self.stacked else (0,)
        parts = PARTS if self.fused else ('',)
        return [template.format(layer=i, part=part) for i in numbers for part in parts]


def _tf1(hf: str) -> str:
    """The name in google-research/bert of a Hugging Face module. This is right for most modules."""
    return hf.replace('layer.{layer}', 'layer_{layer}').replace('.', '/')


def _linear(ours: str, hf: str) -> tuple[Rule, Rule]:
    return (
        Rule(f'{ours}/kernel', f'{hf}.weight', f'{_tf1(hf)}/kernel', ('hf',)),
        Rule(f'{ours}/bias', f'{hf}.bias', f'{_tf1(hf)}/bias'),
    )


def _norm(ours: str, hf: str) -> tuple[Rule, Rule]:
    return (
        Rule(f'{ours}/scale', f'{hf}.LayerNorm.weight', f'{_tf1(hf)}/LayerNorm/gamma'),
        Rule(f'{ours}/bias', f'{hf}.LayerNorm.bias', f'{_tf1(hf)}/LayerNorm/beta'),
    )


def _output(ours: str, hf: str, tf1: str) -> tuple[Rule, Rule]:
    """The rules of an output layer, whose matrix is [out, in] in both families."""
    return (
        Rule(f'{ours}/kernel', f'{hf}.weight', tf1 and f'{tf1}_weights', ('hf', 'tf1')),
        Rule(f'{ours}/bias', f'{hf}.bias', tf1 and f'{tf1}_bias'),
    )


def _table(name: str) -> Rule:
    hf = f'bert.embeddings.{name}'
    return Rule(f'encoder/embeddings/{name}', f'{hf}.weight', _tf1(hf))


_OURS, _HF = 'encoder/layers', 'bert.encoder.layer.{layer}'

BERT: tuple[Rule, ...] = (
    _table('word_embeddings'),
    _table('position_embeddings'),
    _table('token_type_embeddings'),
    *_norm('encoder/embeddings/layer_norm', 'bert.embeddings'),
    *_linear(f'{_OURS}/attention/query_key_value', _HF + '.attention.self.{part}'),
    *_linear(f'{_OURS}/attention/output', f'{_HF}.attention.output.dense'),
    *_norm(f'{_OURS}/attention_norm', f'{_HF}.attention.output'),
    *_linear(f'{_OURS}/intermediate', f'{_HF}.intermediate.dense'),
    *_linear(f'{_OURS}/output', f'{_HF}.output.dense'),
    *_norm(f'{_OURS}/output_norm', f'{_HF}.output'),
    *_linear('pooler/dense', 'bert.pooler.dense'),
    *_linear('masked_lm_transform/dense', 'cls.predictions.transform.dense'),
    *_norm('masked_lm_transform/layer_norm', 'cls.predictions.transform'),
    Rule('masked_lm_bias', 'cls.predictions.bias', 'cls/predictions/output_bias'),
    Rule('masked_lm_decoder', 'cls.predictions.decoder.weight', ''),
    *_output('next_sentence', 'cls.seq_relationship', 'cls/seq_relationship/output'),
    *_output('classifier', 'classifier', 'output'),
    *_output('tagger', 'classifier', ''),
    *_output('span', 'qa_outputs', 'cls/squad/output'),
)


def heads_of(names: Iterable[str], family: str, layers: int) -> tuple[str, ...]:
    """The heads that may have one of these tensors of `family`."""
    tensors = set(names)
    rules = [rule for rule in BERT if tensors & set(rule.names(family, layers))]
    parts = dict.fromkeys(head_of(rule.ours) for rule in rules)
    return tuple(part for part in parts if part != ENCODER)


def names_of(heads: Iterable[str], family: str, layers: int) -> set[str]:
    """The names of the tensors of the encoder and of these heads."""
    parts = {ENCODER, *heads}
    rules = [rule for rule in BERT if head_of(rule.ours) in parts]
    return {name for rule in rules for name in rule.names(family, layers)}


def to_ours(
    tensors: Arrays, shapes: Shapes, family: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The parameters, float32 arrays by path, and the names of the tensors that are missing.

    tensors: by their names in `family`. shapes: the shapes of the parameters by path. Raises
    ValueError for a tensor of another shape, for integers and for values that are not finite.
    """
    arrays, missing = {}, []
    for rule in _wanted(shapes):
        shape = shapes[rule.ours]
        names = rule.names(family, shape[0])
        absent = [name for name in names if name not in tensors]
        missing += absent
        if absent:
            continue
        single = _tensor_shape(rule, shape)
        parts = [_oriented(rule, family, tensors[name]) for name in names]
        for name, part in zip(names, parts, strict=True):
            if not jnp.issubdtype(part.dtype, jnp.floating):  # NumPy does not know bfloat16
                raise ValueError(f'tensor {name} is of {part.dtype}; expected floating point')
            if not np.isfinite(part).all():
                raise ValueError(f'tensor {name} has values that are not finite numbers')
            if part.shape != single:
                raise ValueError(
                    f'tensor {name} is {list(tensors[name].shape)}; with this configuration it '
                    f'must be {list(_oriented(rule, family, np.empty(single)).shape)}'
                )
        stack = np.stack(parts).astype(np.float32, copy=False)
        if rule.fused:  # [layers * parts, (embed,) heads * head_dim] -> parts before head_dim
            *lead, heads, _, head_dim = shape
            stack = stack.reshape(lead[0], len(PARTS), *lead[1:], heads, head_dim)
            stack = np.moveaxis(stack, 1, -2)
        arrays[rule.ours] = np.ascontiguousarray(stack.reshape(shape))
    return arrays, missing


def to_theirs(arrays: Arrays, family: str) -> dict[str, np.ndarray]:
    """The inverse of `to_ours`: tensors by their names in `family`."""
    tensors = {}
    for rule in _wanted(arrays):
        array = arrays[rule.ours]
        names = rule.names(family, len(array))
        single = _tensor_shape(rule, array.shape)
        if rule.fused:
            array = np.moveaxis(array, -2, 1)
        parts = array.reshape(len(names), *single)
        for name, part in zip(names, parts, strict=True):
            tensors[name] = np.ascontiguousarray(_oriented(rule, family, part))
    return tensors


def _wanted(paths: Iterable[str]) -> list[Rule]:
    paths = set(paths)
    rules = [rule for rule in BERT if rule.ours in paths]
    assert len(rules) == len(paths), paths - {rule.ours for rule in rules}
    return rules


def _tensor_shape(rule: Rule, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one tensor of a parameter of this shape. A matrix is [in, out]."""
    if rule.stacked:
        shape = shape[1:]
    if rule.fused:
        *lead, heads, _, head_dim = shape
        return (*lead, heads * head_dim)
    return (int(np.prod(shape[:-1])), shape[-1]) if len(shape) > 1 else shape


def _oriented(rule: Rule, family: str, tensor: np.ndarray) -> np.ndarray:
    return tensor.T if family in rule.flipped else tensor
