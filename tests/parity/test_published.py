"""Folders of fine-tuned models of transformers, used with predict: its predictions are theirs."""

import pathlib
import random
from typing import Any

import numpy as np
import pytest
from family_models import SHAPES, their_model
from reference import torch, transformers
from small_run import QUICK
from test_hf_tokenizer_families import CASES, TEXTS, made, write

from bert_jax import predict

pytestmark = pytest.mark.slow

COUNT = 100  # texts
LABELS = ('O', 'B-PER', 'I-PER', 'B-LOC', 'joy')
SLOW = ('xlm', 'flaubert')  # their tokenizers in transformers give no offsets
TOKENIZERS = {
    kind: next(name for name, other in CASES if other == kind)
    for kind in SHAPES
    if any(other == kind for _, other in CASES)
}
CHECKS = [
    (kind, head)
    for kind in SHAPES
    for head in ('SequenceClassification', 'TokenClassification', 'QuestionAnswering')
    if head == 'SequenceClassification' or kind not in SLOW
]
if QUICK:
    CHECKS = [
        ('bert', 'SequenceClassification'),
        ('roberta', 'TokenClassification'),
        ('distilbert', 'QuestionAnswering'),
    ]


def published(folder: pathlib.Path, kind: str, head: str, **config: Any) -> tuple[Any, Any]:
    """A folder as transformers writes it; its model and its tokenizer."""
    vocabulary = made(TOKENIZERS[kind])
    write(folder, vocabulary, kind)
    ids = vocabulary.specials
    values = {'vocab_size': vocabulary.vocab_size, 'pad_token_id': ids.pad, **config}
    if kind != 'xlnet':  # transformers refuses it
        values['max_position_embeddings'] = 140
    if kind == 'modernbert':
        values |= {'cls_token_id': ids.cls, 'sep_token_id': ids.sep}
        values |= {'bos_token_id': ids.cls, 'eos_token_id': ids.sep}
    if head != 'QuestionAnswering':
        values['id2label'] = dict(enumerate(LABELS))
        values['label2id'] = {label: i for i, label in enumerate(LABELS)}
    model = their_model(kind, 0, head, **values)
    model.save_pretrained(folder)
    return model, transformers.AutoTokenizer.from_pretrained(str(folder))


def texts(count: int, words: int = 12) -> list[list[str]]:
    rng = random.Random(0)
    # Two segmentations of 000 have the same score; transformers chooses the other one.
    known = [word for text in TEXTS for word in text.split() if '000' not in word]
    return [rng.choices(known, k=rng.randrange(3, words)) for _ in range(count)]


def outputs(model: Any, encoding: Any) -> Any:
    if 'token_type_ids' in encoding and model.config.model_type in SLOW:
        encoding.pop('token_type_ids')
    with torch.no_grad():
        return model(**encoding)


@pytest.mark.parametrize(('kind', 'head'), CHECKS)
def test_the_predictions_are_those_of_transformers(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str, head: str
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    model, tokenizer = published(tmp_path / 'theirs', kind, head)
    bert = predict.load(tmp_path / 'theirs', 'float32')
    check = {
        'SequenceClassification': classifies,
        'TokenClassification': tags,
        'QuestionAnswering': answers,
    }[head]
    same, difference = check(bert, model, tokenizer)
    print(f'{kind} {head}: {same} of {COUNT} the same, probabilities differ by {difference:.1e}')
    assert same == COUNT and difference < 1e-5


def classifies(bert: Any, model: Any, tokenizer: Any) -> tuple[int, float]:
    inputs = [' '.join(words) for words in texts(COUNT)]
    same, differences = 0, [0.0]
    for text, scores in zip(inputs, bert.classify(inputs, all_labels=True), strict=True):
        logits = outputs(model, tokenizer(text, return_tensors='pt')).logits[0]
        share = torch.softmax(logits, -1).numpy()
        mine = np.array([scores[label] for label in LABELS])
        same += int(mine.argmax() == share.argmax())
        differences.append(float(np.abs(mine - share).max()))
    return same, max(differences)


def tags(bert: Any, model: Any, tokenizer: Any) -> tuple[int, float]:
    inputs = texts(COUNT)
    same, differences = 0, [0.0]
    for words, found in zip(inputs, bert.tag(inputs), strict=True):
        if tokenizer.backend_tokenizer.pre_tokenizer.__class__.__name__ == 'ByteLevel':
            words = [f' {word}' for word in words]  # as in a text
        encoding = tokenizer(words, is_split_into_words=True, return_tensors='pt')
        places = encoding.word_ids()
        share = torch.softmax(outputs(model, encoding).logits[0], -1).numpy()
        first = [share[places.index(i)] for i in range(len(words))]
        same += [tag for _, tag, _ in found] == [LABELS[x.argmax()] for x in first]
        mine = np.array([p for *_, p in found])
        differences.append(float(np.abs(mine - [x.max() for x in first]).max()))
    return same, max(differences)


def answers(bert: Any, model: Any, tokenizer: Any) -> tuple[int, float]:
    contexts = [' '.join(words) for words in texts(COUNT, 16)]
    questions = [' '.join(words[:4]) for words in texts(COUNT)]
    same, differences = 0, [0.0]
    for i, (answer, _) in enumerate(bert.answer(questions, contexts)):
        encoding = tokenizer(
            questions[i], contexts[i], return_tensors='pt', return_offsets_mapping=True
        )
        spans = encoding.pop('offset_mapping')[0].tolist()
        result = outputs(model, encoding)
        start, end = result.start_logits[0].numpy(), result.end_logits[0].numpy()
        context = [j for j, part in enumerate(encoding.sequence_ids()) if part == 1]
        pieces = tokenizer.convert_ids_to_tokens(encoding['input_ids'][0].tolist())
        for j in context:  # a mark of white space has a character of the next word in transformers
            spans[j] = spans[j][:1] * 2 if pieces[j] == '▁' else spans[j]
        pairs = [(a, b) for a in context for b in context if a <= b < a + 30]
        # White space alone is no answer.
        pairs = [(a, b) for a, b in pairs if contexts[i][spans[a][0] : spans[b][1]].strip()]
        a, b = max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])
        same += contexts[i][spans[a][0] : spans[b][1]].strip() == answer
    return same, max(differences)


def test_several_labels(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With problem_type multi_label_classification, each label has a probability of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    problem = {'problem_type': 'multi_label_classification'}
    model, tokenizer = published(tmp_path / 'theirs', 'bert', 'SequenceClassification', **problem)
    bert = predict.load(tmp_path / 'theirs', 'float32')
    inputs = [' '.join(words) for words in texts(20)]
    for text, record in zip(inputs, bert.records(inputs), strict=True):
        logits = outputs(model, tokenizer(text, return_tensors='pt')).logits[0]
        share = torch.sigmoid(logits).numpy()
        np.testing.assert_allclose([*record['probabilities'].values()], share, atol=1e-5)
        assert record['labels'] == [x for x, p in zip(LABELS, share, strict=True) if p > 0.5]
        assert sorted(x for x, _ in bert.classify(text)) == sorted(record['labels'])
