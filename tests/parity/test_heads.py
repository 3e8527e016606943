"""Fine-tuned heads go out with their labels and give PyTorch the same numbers."""

import json
import pathlib

import jax
import numpy as np
import pytest
import reference
from reference import torch, transformers

from bert_jax import predict
from bert_jax.config import ModelConfig
from bert_jax.convert.folders import convert_out
from bert_jax.convert.foreign import full_config
from bert_jax.inference import model_dir

MODEL = ModelConfig(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=32,
)


def write(folder: pathlib.Path, heads: tuple[str, ...], labels: tuple[str, ...]) -> None:
    shapes = model_dir.abstract_params(MODEL, heads, max(len(labels), 1))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(0, 0.3, x.shape).astype('float32'), shapes)
    folder.mkdir()
    model_dir.save(folder, full_config(MODEL, lowercase=True), params, None)
    (folder / 'corpus.json').write_text(
        json.dumps({'fingerprint': '', 'labels': labels, 'lowercase': True})
    )


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
    write(tmp_path / 'ours', heads, labels)
    convert_out('hf', tmp_path / 'ours', tmp_path / 'theirs')
    bert, info = getattr(transformers, f'AutoModelFor{architecture}').from_pretrained(
        tmp_path / 'theirs', output_loading_info=True
    )
    assert not any(info.values()), info
    ours = predict.load(tmp_path / 'ours')
    inputs = reference.batch(reference.Both(bert, ours, tmp_path), rows=3, length=20)
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
    write(tmp_path / 'ours', ('tagger',), ('O', 'B-PER'))
    with pytest.raises(ValueError, match='no model for tagging; use --to=hf'):
        convert_out('tf1', tmp_path / 'ours', tmp_path / 'theirs')
    assert not (tmp_path / 'theirs').exists()
