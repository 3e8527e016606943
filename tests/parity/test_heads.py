"""Fine-tuned heads go out with their labels and give PyTorch the same numbers."""

import dataclasses
import pathlib

import numpy as np
import pytest
import small_tasks
from family_models import batch
from reference import torch, transformers

from bert_jax import predict
from bert_jax.convert.folders import convert_out

MODEL = dataclasses.replace(small_tasks.MODEL, initializer_range=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('heads', 'labels', 'architecture', 'outputs'),
    [
        (('pooler', 'classifier'), ('no', 'so so', 'yes'), 'SequenceClassification', ['logits']),
        (('pooler', 'classifier'), (), 'SequenceClassification', ['logits']),
        (('tagger',), ('O', 'B-PER', 'I-PER'), 'TokenClassification', ['logits']),
        (('span',), (), 'QuestionAnswering', ['start_logits', 'end_logits']),
        (('span',), ('no_answer',), 'QuestionAnswering', ['start_logits', 'end_logits']),
    ],
)
def test_a_finetuned_model_goes_out(
    tmp_path: pathlib.Path,
    heads: tuple[str, ...],
    labels: tuple[str, ...],
    architecture: str,
    outputs: list[str],
) -> None:
    small_tasks.fine_tuned_folder(tmp_path / 'ours', heads, labels, MODEL)
    convert_out('hf', tmp_path / 'ours', tmp_path / 'theirs')
    bert, info = getattr(transformers, f'AutoModelFor{architecture}').from_pretrained(
        tmp_path / 'theirs', output_loading_info=True
    )
    assert not any(info.values()), info
    ours = predict.load(tmp_path / 'ours')
    inputs = batch(ours.config, rows=3, length=20)
    with torch.no_grad():
        theirs = bert.eval()(**{name: torch.tensor(x).long() for name, x in inputs.items()})
    found = ours.apply(inputs)
    for name in outputs:
        here, there = found[name], theirs[name].numpy()
        if name != 'logits' or heads == ('tagger',):  # one for each token: real ones count
            here, there = here[inputs['attention_mask'] > 0], there[inputs['attention_mask'] > 0]
        np.testing.assert_allclose(here, there, atol=1e-4, rtol=0)
    if architecture != 'QuestionAnswering':
        assert [bert.config.id2label[i] for i in range(bert.config.num_labels)] == [
            *(labels or ('value',))
        ]
    if 'classifier' in heads:
        kind = 'single_label_classification' if labels else 'regression'
        assert bert.config.problem_type == kind


def test_google_has_no_tagging(tmp_path: pathlib.Path) -> None:
    small_tasks.fine_tuned_folder(tmp_path / 'ours', ('tagger',), ('O', 'B-PER'))
    with pytest.raises(ValueError, match='no model for tagging; use --to=hf'):
        convert_out('tf1', tmp_path / 'ours', tmp_path / 'theirs')
    assert not (tmp_path / 'theirs').exists()
