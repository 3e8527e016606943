"""Fine-tuned models are converted with their labels, and they predict."""

import dataclasses
import json
import pathlib
from typing import Any

import pytest
from folders import assert_same, change_config, make
from kinds import tiny

from bert_jax import __version__, predict
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.finetuning import predictions
from bert_jax.inference import model_dir
from bert_jax.models.presets import PRESETS

TEXTS = (('pooler', 'classifier'), {'labels': ['bad', 'so so', 'good'], 'pairs': False})
NUMBERS = (('pooler', 'classifier'), {'labels': [], 'pairs': True})
ONE_LABEL = (('pooler', 'classifier'), {'labels': ['only']})
SEVERAL = (TEXTS[0], {'labels': ['bad', 'good'], 'multi_label': True})
TAGS = (('tagger',), {'labels': ['O', 'B-A', 'I-A']})
QUESTIONS = (('span',), {'no_answer': True})


@pytest.mark.parametrize(
    'family, heads, task',
    [
        *[('hf', *model) for model in (TEXTS, NUMBERS, ONE_LABEL, SEVERAL, TAGS, QUESTIONS)],
        *[('tf1', *model) for model in (TEXTS, NUMBERS, QUESTIONS)],
    ],
)
def test_a_round_trip(
    tmp_path: pathlib.Path, family: str, heads: tuple[str, ...], task: dict[str, Any]
) -> None:
    source = make(tmp_path / 'ours', heads=heads, **task)
    convert_out(family, source, tmp_path / 'theirs')
    convert_in(family, tmp_path / 'theirs', tmp_path / 'back', lowercase=False)
    assert_same(source, tmp_path / 'back')
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    notes = report.pop('notes')
    assert report == {'version': __version__, 'unused': {}, 'missing': []}
    assert not any('heads' in note for note in notes)


@pytest.mark.parametrize(
    'model, name, text, keys',
    [
        (TEXTS, 'a.jsonl', '{"text": "a b"}\n', {'label', 'probabilities'}),
        (SEVERAL, 'a.jsonl', '{"text": "a b"}\n', {'labels', 'probabilities'}),
        (TAGS, 'a.conll', 'a O\nb O\n\n', {'tags'}),
    ],
)
def test_predictions(
    tmp_path: pathlib.Path, model: Any, name: str, text: str, keys: set[str]
) -> None:
    heads, task = model
    convert_out('hf', make(tmp_path / 'ours', heads=heads, **task), tmp_path / 'theirs')
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    (tmp_path / name).write_text(text)
    bert = predict.load(tmp_path / 'back')
    (record,) = predictions.records(bert, [tmp_path / name])
    assert keys <= set(record), record


def test_a_classifier_that_nothing_names(tmp_path: pathlib.Path) -> None:
    heads, task = TEXTS
    convert_out('hf', make(tmp_path / 'ours', heads=heads, **task), tmp_path / 'theirs')
    change_config(tmp_path / 'theirs', architectures=None)
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    assert model_dir.load(tmp_path / 'back').heads == ('pooler',)
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    assert set(report['unused']) == {'classifier.weight', 'classifier.bias'}
    assert (
        "config.json names no class; known are 'BertForSeq" in report['unused']['classifier.bias']
    )


@pytest.mark.slow
def test_a_classifier_of_2019(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without model_type and class, the names of the tensors are those of RoBERTa's classifier."""
    heads, task = TEXTS
    model = dataclasses.replace(tiny(PRESETS['roberta-base']), vocab_size=15, position_offset=1)
    source = make(tmp_path / 'ours', model, heads, **task)
    convert_out('hf', source, tmp_path / 'theirs')
    change_config(tmp_path / 'theirs', model_type=None, architectures=None)
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    assert 'its keys or tensors are those of roberta' in capsys.readouterr().out
    assert_same(source, tmp_path / 'back')


def test_names_of_labels(tmp_path: pathlib.Path) -> None:
    heads, task = TAGS
    convert_out('hf', make(tmp_path / 'ours', heads=heads, **task), tmp_path / 'theirs')
    change_config(tmp_path / 'theirs', id2label=None)
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'unnamed')
    assert model_dir.load(tmp_path / 'unnamed').labels == ('LABEL_0', 'LABEL_1', 'LABEL_2')
    change_config(tmp_path / 'theirs', id2label={'1': 'B', '0': 'A'})
    with pytest.raises(ValueError, match=r'classifier.weight is \[3, 12\].*must be \[2, 12\]'):
        convert_in('hf', tmp_path / 'theirs', tmp_path / 'no')
    change_config(tmp_path / 'theirs', id2label={'1': 'A', '0': 'A', '2': 'B'})
    with pytest.raises(ValueError, match="id2label has the name 'A' twice"):
        convert_in('hf', tmp_path / 'theirs', tmp_path / 'no')
    change_config(tmp_path / 'theirs', id2label=['A'])
    with pytest.raises(ValueError, match=r"id2label is \['A'\]; expected names by number"):
        convert_in('hf', tmp_path / 'theirs', tmp_path / 'no')
