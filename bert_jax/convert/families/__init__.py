"""The families of models that are converted, by `model_type`.

To add a family, add a module with a `Family`, an entry here, a choice of
`config.model.model_type`, presets in `models.presets` and a row in `tests/parity/family_models.py`.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from bert_jax.convert.families.albert import ALBERT
from bert_jax.convert.families.bert import BERT
from bert_jax.convert.families.distilbert import DISTILBERT
from bert_jax.convert.families.electra import ELECTRA
from bert_jax.convert.families.family import Family
from bert_jax.convert.families.modernbert import MODERNBERT
from bert_jax.convert.families.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA
from bert_jax.convert.families.xlm import FLAUBERT, XLM
from bert_jax.convert.families.xlnet import XLNET

FAMILIES: Mapping[str, Family] = {
    family.model_type: family
    for family in (
        *(BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ELECTRA, DISTILBERT, ALBERT),
        *(XLM, FLAUBERT, MODERNBERT, XLNET),
    )
}


# Keys that show the family of a config.json. Those of FlauBERT come before those of XLM, because
# files of FlauBERT have both.
OWN_KEYS: Mapping[str, str] = {
    'dim': 'distilbert',
    'num_hidden_groups': 'albert',
    'd_model': 'xlnet',
    'pre_norm': 'flaubert',
    'layerdrop': 'flaubert',
    'emb_dim': 'xlm',
}


def family_of(values: Mapping[str, Any]) -> Family:
    """The family of a config.json, by its model_type or, in old files without one, by the class of
    the model or by its keys. Raises ValueError if the family is not known."""
    kind = values.get('model_type')
    if kind is None:
        named = values.get('architectures') or ()
        kinds = [name for name, x in FAMILIES.items() if {*named} & x.classes.keys()]
        kinds += [name for key, name in OWN_KEYS.items() if key in values]
        kind = kinds[0] if kinds else 'bert'
    if kind not in FAMILIES:
        near = difflib.get_close_matches(str(kind), FAMILIES, n=1, cutoff=0.5)
        hint = f'; the nearest name is {near[0]!r}' if near else ''
        raise ValueError(f'model_type is {kind!r}; expected {", ".join(FAMILIES)}{hint}')
    return FAMILIES[kind]


def heads_of_class(name: str, family: Family) -> tuple[str, ...]:
    """The heads of a class of transformers; () if the class is not known.

    transformers chooses the family by model_type. So a class of another family means the class of
    `family` that has the same name after "For".
    """
    known = {own for other in FAMILIES.values() for own in other.classes}
    end = name[name.find('For') :]
    return next(
        (
            heads
            for own, heads in family.classes.items()
            if own == name or (name in known and 'For' in name and own.endswith(end))
        ),
        (),
    )
