"""Parameters of bert_jax and the tensors of other projects that hold the same values.

A table of rules is used for both directions. In bert_jax, layers are stacked on axis 0, and the
projections to query, key and value are one kernel [layers, embed, heads, qkv, head_dim]. The other
projects have tensors for each layer and matrices of two dimensions.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.models.heads import DECODER, head_of, heads_in

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]

# The parts of a fused kernel, by the name in its path.
PARTS = {
    'query_key_value': ('query', 'key', 'value'),
    'key_value': ('key', 'value'),
}
ENCODER = head_of('encoder')


@dataclasses.dataclass(frozen=True)
class Rule:
    """A parameter of bert_jax and its tensors.

    ours: the path of the parameter. theirs: the name of the tensor; {layer} is the number of the
    layer, {next} that of the layer above it, {part} one of PARTS and {p} its first letter. last:
    the name in the last layer, if it differs. flipped: whether the matrix is [out, in]; in bert_jax
    it is [in, out]. packed: whether one tensor holds query, key and value. whole: whether the
    tensor has all dimensions of the parameter, instead of being a matrix or a vector. If it is
    flipped, too, the last dimension of the parameter comes first. leading: the number of dimensions
    of size 1 in front. only: a head that the model must have for the rule to apply. Of several
    rules of a parameter that apply, the last one is used.
    """

    ours: str
    theirs: str
    flipped: bool = False
    last: str = ''
    packed: bool = False
    whole: bool = False
    leading: int = 0
    only: str = ''

    @property
    def stacked(self) -> bool:
        return '/layers/' in self.ours

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a fused parameter; () for other parameters."""
        return next((PARTS[name] for name in self.ours.split('/') if name in PARTS), ())

    def names(self, layers: int) -> list[str]:
        """The names of the tensors, in the order of the leading axes [layers, parts].

        layers: the number of layers that have parameters of their own.
        """
        count = layers if self.stacked else 1
        parts = (not self.packed and self.parts) or ('?',)
        return [
            (self.last if self.last and i == count - 1 else self.theirs).format(
                layer=i, next=i + 1, part=part, p=part[0]
            )
            for i in range(count)
            for part in parts
        ]

    def applies(self, heads: Iterable[str]) -> bool:
        """Returns whether the rule is for a model with these heads."""
        return not self.only or self.only in heads


Rules = tuple[Rule, ...]


def linear(ours: str, theirs: str, **options: Any) -> Rules:
    """The rules of a dense layer of PyTorch. options: other fields of the rules."""
    return (
        Rule(f'{ours}/kernel', f'{theirs}.weight', flipped=True, **options),
        Rule(f'{ours}/bias', f'{theirs}.bias', **options),
    )


def norm(ours: str, theirs: str, last: str = '', **options: Any) -> Rules:
    """The rules of a layer normalization of PyTorch. options: other fields of the rules."""
    return tuple(
        Rule(f'{ours}/{mine}', f'{theirs}.{name}', last=last and f'{last}.{name}', **options)
        for mine, name in (('scale', 'weight'), ('bias', 'bias'))
    )


def table(name: str, theirs: str) -> Rule:
    """The rule of an embedding table of PyTorch."""
    return Rule(f'encoder/embeddings/{name}', f'{theirs}.weight')


def transform(ours: str, theirs: str, norm_name: str = 'LayerNorm', **options: Any) -> Rules:
    """The rules of a dense layer and a normalization in front of scores."""
    return (
        *linear(f'{ours}/dense', f'{theirs}.dense', **options),
        *norm(f'{ours}/layer_norm', f'{theirs}.{norm_name}', **options),
    )


def decoder(theirs: str, bias: str = '') -> Rules:
    """The rules of the masked-LM decoder. bias: the tensor of its bias, if the name differs."""
    return (
        Rule('masked_lm_bias', bias or f'{theirs}.bias'),
        Rule('masked_lm_decoder', f'{theirs}.weight'),
    )


def scores(classifier: str = 'classifier', span: str = 'qa_outputs') -> Rules:
    """The rules of the scores of texts, tokens and spans."""
    return (
        *linear('classifier', classifier),
        *linear('tagger', 'classifier'),
        *linear('span', span),
    )


def heads_of(names: Iterable[str], rules: Rules, model: ModelConfig) -> dict[str, bool]:
    """The heads that may have one of these tensors, in the order of the rules.

    The value is false if other heads have tensors of the same names, so that the names do not tell
    which head it is.
    """
    tensors, owners = set(names), dict[str, set[str]]()
    for rule in rules:
        for name in tensors & set(rule.names(_layers(rule, model))):
            owners.setdefault(name, set()).add(head_of(rule.ours))
    heads = dict.fromkeys((head_of(rule.ours) for rule in rules), False)
    for owning in owners.values():
        for head in owning:
            heads[head] = heads[head] or len(owning) == 1
    found = set().union(*owners.values())
    return {head: alone for head, alone in heads.items() if head in found and head != ENCODER}


def names_of(heads: Iterable[str], rules: Rules, model: ModelConfig) -> set[str]:
    """The names of the tensors that the encoder and these heads may have."""
    heads = set(heads)
    chosen = [x for x in rules if head_of(x.ours) in {ENCODER, *heads} and x.applies(heads)]
    return {name for rule in chosen for name in rule.names(_layers(rule, model))}


def _layers(rule: Rule, model: ModelConfig) -> int:
    """The number of layers with parameters of their own, on the side that a rule belongs to."""
    return model.num_decoder_layers if rule.ours.startswith(DECODER) else model.stacked_layers


def to_ours(
    tensors: Arrays, shapes: Shapes, rules: Rules
) -> tuple[dict[str, np.ndarray], set[str]]:
    """The parameters, float32 arrays by path, and the names of the tensors that they need.

    shapes: the shapes of the parameters by path. A parameter is left out if one of its tensors is
    missing. Raises ValueError for a tensor of another shape, for integers and for values that are
    not finite.
    """
    arrays, needed = {}, set[str]()
    for rule in _wanted(shapes, rules):
        names = rule.names(shapes[rule.ours][0])
        needed |= set(names)
        if not set(names) <= tensors.keys():
            continue
        # The parts are views of this array, so they fill it.
        arrays[rule.ours] = np.empty(shapes[rule.ours], np.float32)
        for name, part in zip(names, _parts(rule, arrays[rule.ours]), strict=True):
            tensor, wanted = tensors[name], _as_theirs(rule, part).shape
            if not jnp.issubdtype(tensor.dtype, jnp.floating):  # NumPy does not know bfloat16
                raise ValueError(f'tensor {name} is of {tensor.dtype}; expected floating point')
            if not np.isfinite(tensor).all():
                raise ValueError(f'tensor {name} has values that are not finite numbers')
            if tensor.shape != wanted:
                raise ValueError(
                    f'tensor {name} is {list(tensor.shape)}; with this configuration it must be '
                    f'{list(wanted)}'
                )
            oriented = np.moveaxis(tensor, 0, -1) if rule.flipped else tensor
            part[...] = oriented.reshape(part.shape)
    return arrays, needed


def to_theirs(arrays: Arrays, rules: Rules) -> dict[str, np.ndarray]:
    """The inverse of `to_ours`: tensors by their names."""
    tensors = {}
    for rule in _wanted(arrays, rules):
        array = arrays[rule.ours]
        for name, part in zip(rule.names(len(array)), _parts(rule, array), strict=True):
            tensors[name] = np.ascontiguousarray(_as_theirs(rule, part))
    return tensors


def _wanted(paths: Iterable[str], rules: Rules) -> Iterable[Rule]:
    """The rule of each parameter path: of several that apply to it, the last one."""
    paths = set(paths)
    heads = heads_in(paths)
    wanted = {rule.ours: rule for rule in rules if rule.ours in paths and rule.applies(heads)}
    assert wanted.keys() == paths, paths - wanted.keys()
    return wanted.values()


def _parts(rule: Rule, array: np.ndarray) -> list[np.ndarray]:
    """Views of the parts of a parameter that are one tensor each, in the order of `Rule.names`."""
    layers = list(array) if rule.stacked else [array]
    if rule.packed:  # the axis of query, key and value is in front of that of the heads
        return [np.moveaxis(layer, -2, -3) for layer in layers]
    if rule.parts:
        return [layer[..., i, :] for layer in layers for i in range(len(rule.parts))]
    return layers


def _as_theirs(rule: Rule, part: np.ndarray) -> np.ndarray:
    """A part of a parameter with the shape of its tensor. Unless `rule.whole`, a kernel is made
    a matrix, which is [in, out] before it is flipped, and a bias is made a vector."""
    if rule.ours.endswith('/kernel') and not rule.whole:
        inputs = part.ndim - 1 if rule.ours.endswith('attention/output/kernel') else 1
        part = part.reshape(np.prod(part.shape[:inputs]), -1)
    elif not rule.whole and rule.ours.endswith('/bias'):
        part = part.reshape(-1)
    tensor = np.moveaxis(part, -1, 0) if rule.flipped else part
    return tensor.reshape((1,) * rule.leading + tensor.shape)
