"""Names of tensors and files in google-research/bert and google-research/albert."""

import dataclasses
from collections.abc import Mapping

from bert_jax.convert.families import FAMILIES
from bert_jax.convert.rules import Rule, Rules

# The configuration file of each family that has checkpoints of TensorFlow 1.
CONFIGS = {
    'bert': 'bert_config.json',
    'albert': 'albert_config.json',
    'xlnet': 'xlnet_config.json',
}
# Output layers, whose matrices are [out, in], and other parameters whose names follow no rule. A
# parameter with the name '' does not exist.
OUTPUTS = {
    'next_sentence': 'cls/seq_relationship/output',
    'sentence_order': 'cls/seq_relationship/output',
    'classifier': 'output',
    'span': 'cls/squad/output',
    'tagger': '',
}
OTHERS = {'masked_lm_bias': 'cls/predictions/output_bias', 'masked_lm_decoder': ''}
# Modules of ALBERT by their names in transformers. The names of other modules differ only in their
# separators.
_LAYER = 'albert.encoder.albert_layer_groups.0.albert_layers.0'
_GROUP = 'bert/encoder/transformer/group_0/inner_group_0'
ALBERT = {
    f'{_LAYER}.attention.{{part}}': f'{_GROUP}/attention_1/self/{{part}}',
    f'{_LAYER}.attention.dense': f'{_GROUP}/attention_1/output/dense',
    f'{_LAYER}.attention.LayerNorm': f'{_GROUP}/LayerNorm',
    f'{_LAYER}.ffn': f'{_GROUP}/ffn_1/intermediate/dense',
    f'{_LAYER}.ffn_output': f'{_GROUP}/ffn_1/intermediate/output/dense',
    f'{_LAYER}.full_layer_layer_norm': f'{_GROUP}/LayerNorm_1',
    'albert.pooler': 'bert/pooler/dense',
    'predictions.dense': 'cls/predictions/transform/dense',
    'predictions.LayerNorm': 'cls/predictions/transform/LayerNorm',
}


def _module(name: str) -> str:
    """The TensorFlow 1 name of a module of transformers."""
    if name in ALBERT:
        return ALBERT[name]
    name = name.removeprefix('al') if name.startswith('albert.') else name
    return name.replace('layer.{layer}', 'layer_{layer}').replace('.', '/')


def _tf1(rule: Rule) -> Rule:
    """The rule for TensorFlow 1 that corresponds to a rule for transformers."""
    head, _, last = rule.ours.rpartition('/')
    if rule.ours in OTHERS:
        name, flipped = OTHERS[rule.ours], False
    elif head in OUTPUTS:
        kinds = {'kernel': 'weights', 'bias': 'bias'}
        name, flipped = OUTPUTS[head] and f'{OUTPUTS[head]}_{kinds[last]}', last == 'kernel'
    else:
        module = _module(rule.theirs.rpartition('.')[0])
        norm = 'LayerNorm' in module
        kinds = {'scale': '/gamma', 'bias': '/beta' if norm else '/bias', 'kernel': '/kernel'}
        name, flipped = module + kinds.get(last, ''), False
    return dataclasses.replace(rule, theirs=name, flipped=flipped)


# The rules of each family that is converted.
TF1: Mapping[str, Rules] = {
    family: tuple(rule for rule in map(_tf1, FAMILIES[family].rules) if rule.theirs)
    for family in ('bert', 'albert')
}
