"""The baselines, compared with a plain computation in Python."""

import collections
import pathlib
from typing import Any

import numpy as np
import pytest

from bert_jax.data.store import baselines, format

VOCABULARY = 9
Documents = list[list[list[int]]]


def random_documents(seed: int, count: int) -> Documents:
    """Documents of one or more sentences; some have a single token."""
    random = np.random.default_rng(seed)
    chances = 1 / np.arange(2, VOCABULARY + 2)
    return [
        [
            random.choice(VOCABULARY, random.integers(1, 7), p=chances / chances.sum()).tolist()
            for _ in range(random.integers(1, 5))
        ]
        for _ in range(count)
    ]


def write(directory: pathlib.Path, train: Documents, evaluation: Documents) -> pathlib.Path:
    counts = {}
    for split, documents in (('train', train), ('eval', evaluation)):
        writer = format.SplitWriter(directory / split, VOCABULARY)
        for document in documents:
            writer.add([np.array(sentence) for sentence in document])
        writer.close()
        counts[split] = writer.counts()
    format.write_meta(
        directory,
        format.StoreMeta(format.VERSION, 'x', VOCABULARY, True, 'uint16', counts, 0.0, {}, {}),
    )
    return directory


def with_neighbours(documents: Documents) -> list[tuple[Any, int, Any]]:
    found = []
    for document in documents:
        ids = [None, *(token for sentence in document for token in sentence), None]
        found += list(zip(ids, ids[1:], ids[2:], strict=False))
    return found


def by_hand(train: Documents, evaluation: Documents) -> dict[str, float]:
    keys = {
        'frequent': lambda left, right: (),
        'pairs': lambda left, right: (left,),
        'triples': lambda left, right: (left, right),
    }
    tables = {name: collections.defaultdict(collections.Counter) for name in keys}
    for left, token, right in with_neighbours(train):
        for name, key in keys.items():
            tables[name][key(left, right)][token] += 1

    def predict(name: str, left: Any, right: Any) -> int:
        counter = tables[name].get(keys[name](left, right))
        if counter is None:
            return predict({'triples': 'pairs', 'pairs': 'frequent'}[name], left, right)
        return min(counter, key=lambda token: (-counter[token], token))

    tokens = with_neighbours(evaluation)
    return {
        name: sum(predict(name, left, right) == token for left, token, right in tokens)
        / len(tokens)
        for name in keys
    }


@pytest.mark.parametrize('seed', range(4))
def test_as_counted_by_hand(tmp_path: pathlib.Path, seed: int) -> None:
    train, evaluation = random_documents(seed, 40), random_documents(100 + seed, 30)
    evaluation += [[[8, 8, 8]], [[7]]]  # neighbours that the train split may not have
    found = baselines.count(write(tmp_path / 'store', train, evaluation))
    assert found.pop('train_share') == found.pop('eval_share') == 1
    assert found == pytest.approx(by_hand(train, evaluation))
    assert tuple(found) == baselines.NAMES


def test_a_sample_of_a_large_store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks have the right neighbours, and the shares are reported."""
    monkeypatch.setattr(baselines, 'BLOCK', 50)
    train, evaluation = random_documents(1, 400), random_documents(2, 400)
    store = write(tmp_path / 'store', train, evaluation)
    meta = format.read_meta(store)
    found = baselines.count(store, 1000, 500)
    assert found['train_share'] == 1000 / meta.counts['train'].tokens < 0.5
    assert found['eval_share'] == 500 / meta.counts['eval'].tokens
    whole = baselines.count(store)
    for name in baselines.NAMES:
        assert found[name] == pytest.approx(whole[name], abs=0.1)
    known = with_neighbours(train)
    edge = VOCABULARY
    for row in zip(*baselines._tokens(format.open_store(store, 'train'), 1000, edge), strict=True):
        left, token, right = (None if value == edge else int(value) for value in row)
        assert (left, token, right) in known


def test_an_empty_split(tmp_path: pathlib.Path) -> None:
    assert baselines.count(write(tmp_path / 'store', random_documents(1, 5), [])) == {}
