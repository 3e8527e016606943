"""Fine-tuned models go out with their labels; tests/parity/test_families.py compares the heads."""

import json
import pathlib

import pytest
import small_tasks

from bert_jax.convert.folders import convert_out


@pytest.mark.parametrize(
    ('heads', 'labels', 'problem'),
    [
        (('pooler', 'classifier'), ('no', 'so so', 'yes'), 'single_label_classification'),
        (('pooler', 'classifier'), (), 'regression'),
        (('tagger',), ('O', 'B-PER', 'I-PER'), None),
    ],
)
def test_labels_and_the_kind_of_problem(
    tmp_path: pathlib.Path, heads: tuple[str, ...], labels: tuple[str, ...], problem: str | None
) -> None:
    small_tasks.fine_tuned_folder(tmp_path / 'ours', heads, labels)
    convert_out('hf', tmp_path / 'ours', tmp_path / 'theirs')
    config = json.loads((tmp_path / 'theirs' / 'config.json').read_text())
    assert [*config['id2label'].values()] == [*(labels or ('value',))]
    assert config.get('problem_type') == problem


def test_google_has_no_tagging(tmp_path: pathlib.Path) -> None:
    small_tasks.fine_tuned_folder(tmp_path / 'ours', ('tagger',), ('O', 'B-PER'))
    with pytest.raises(ValueError, match='no model for tagging; use --to=hf'):
        convert_out('tf1', tmp_path / 'ours', tmp_path / 'theirs')
    assert not (tmp_path / 'theirs').exists()
