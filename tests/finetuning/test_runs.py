"""Fine-tuning from files to scores, predictions and results, on tasks that a tiny model learns."""

import dataclasses
import json
import pathlib
import types
from typing import Any

import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath
from small_finetuning import fine_tune, results, said

from bert_jax.config import MeshConfig
from bert_jax.finetuning import settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('one_device')]


def test_own_texts(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    test = small_tasks.write_texts(tmp_path / 'test.jsonl', 30, 2)
    config = small_tasks.configured(source, 'text', data=texts | {'test_file': str(test)})
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert results(tmp_path / 'w')['mean']['accuracy'] == 1
    assert results(tmp_path / 'w')['mean']['test_accuracy'] == 1
    truth = [json.loads(line)['label'] for line in test.read_text().splitlines()]
    lines = (tmp_path / 'w' / 'test_predictions.jsonl').read_text().splitlines()
    assert [json.loads(line)['label'] for line in lines] == truth
    found = said(tmp_path / 'w', test)
    assert [record['label'] for record in found] == truth
    assert all(sum(r['probabilities'].values()) == pytest.approx(1) for r in found)
    evals = [m for m in small_run.metrics(tmp_path / 'w') if m['split'] == 'eval']
    assert [line['step'] for line in evals] == [13, 26, 39, 52, 65, 78]  # ceil(200 / 16) an epoch


@pytest.mark.parametrize(('warmup_steps', 'expected'), [(0, 2), (7, 7)])
def test_epochs_as_steps(warmup_steps: int, expected: int) -> None:
    """Warm-up is a share of the steps if its number of steps is not given."""
    config = small_tasks.configured(pathlib.Path('none'), 'text', train={'epochs': 3.0})
    optim = dataclasses.replace(config.optim, warmup_steps=warmup_steps, warmup_fraction=0.1)
    job: Any = types.SimpleNamespace(train=range(100))  # 7 batches of 16
    found = settings.with_steps(dataclasses.replace(config, optim=optim), job)
    assert (found.num_steps, found.optim.warmup_steps) == (21, expected)
    assert found.train.eval_every == found.train.checkpoint_every == 7


def test_a_regression(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    for name in texts.values():
        path = pathlib.Path(name)
        path.write_text(path.read_text().replace('"pos"', '1.5').replace('"neg"', '-0.5'))
    data = texts | {'regression': True, 'test_file': texts['eval_file']}
    config = small_tasks.configured(source, 'text', data=data)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert results(tmp_path / 'w')['mean']['pearson'] > 0.99
    values = [r['value'] for r in said(tmp_path / 'w', pathlib.Path(texts['eval_file']))]
    lines = pathlib.Path(texts['eval_file']).read_text().splitlines()
    truth = [json.loads(line)['label'] for line in lines]
    np.testing.assert_allclose(values, truth, atol=0.3)
    written = (tmp_path / 'w' / 'test_predictions.jsonl').read_text().splitlines()
    np.testing.assert_allclose([json.loads(x)['value'] for x in written], values, atol=1e-4)


def test_tags(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    files = {
        'train_file': str(small_tasks.write_tags(tmp_path / 'train.conll', 200, 0)),
        'eval_file': str(small_tasks.write_tags(tmp_path / 'dev.conll', 50, 1)),
        'test_file': str(small_tasks.write_tags(tmp_path / 'test.conll', 20, 2)),
    }
    config = small_tasks.configured(source, 'ner', data=files)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert results(tmp_path / 'w')['mean']['f1'] == 1
    for written, file in (('predictions', 'dev'), ('test_predictions', 'test')):
        there = (tmp_path / 'w' / f'{written}.conll').read_text()
        assert there == (tmp_path / f'{file}.conll').read_text()
    found = said(tmp_path / 'w', tmp_path / 'test.conll')
    words, tags, probabilities = found[0].values()
    assert len(probabilities) == len(words) and all(0.5 < p <= 1 for p in probabilities)
    block = '\n'.join(f'{w}\t{t}' for w, t in zip(words, tags, strict=True))
    assert (tmp_path / 'test.conll').read_text().startswith(block + '\n\n')


def test_tasks_of_glue(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    """Two tasks have one table and a submission. Mistakes in the files of the second one are found
    before the first one is trained."""
    for folder in ('RTE', 'WNLI'):
        (tmp_path / folder).mkdir()
        for split, count in (('train', 40), ('dev', 12), ('test', 146 if folder == 'WNLI' else 0)):
            texts = small_tasks.write_texts(tmp_path / 'texts', count, len(split))
            lines = map(json.loads, texts.read_text().splitlines())
            names = ('not_entailment', 'entailment') if folder == 'RTE' else ('0', '1')
            rows = ['sentence1\tsentence2' + '\tlabel' * (split != 'test')]
            for line in lines:
                label = names[line['label'] == 'pos']
                rows.append(f'{line["text"]}\tit was' + f'\t{label}' * (split != 'test'))
            if count:
                (tmp_path / folder / f'{split}.tsv').write_text('\n'.join(rows) + '\n')
    data = {'dir': str(tmp_path), 'max_seq_length': 32}
    config = small_tasks.configured(source, 'rte,wnli', data=data, train={'epochs': 1.0})
    label = (tmp_path / 'WNLI' / 'train.tsv').read_text()
    (tmp_path / 'WNLI' / 'train.tsv').write_text(label + 'a film\tthe plot\tyes\n')
    with pytest.raises(ValueError, match=r"train.tsv:42 has the label 'yes'"):
        fine_tune(config, epath.Path(tmp_path / 'w'))
    assert not (tmp_path / 'w').exists()
    (tmp_path / 'WNLI' / 'train.tsv').write_text(label)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    scores = [results(tmp_path / 'w' / name)['mean']['score'] for name in ('rte', 'wnli')]
    table = json.loads((tmp_path / 'w' / 'glue.json').read_text())
    assert [row['score'] for row in table['tasks'].values()] == scores
    assert table['average'] == scores[0], 'without WNLI'
    assert '| rte |' in (tmp_path / 'w' / 'glue.md').read_text()
    submission = (tmp_path / 'w' / 'wnli' / 'submission' / 'WNLI.tsv').read_text().splitlines()
    assert len(submission) == 147 and {line[-1] for line in submission[1:]} <= {'0', '1'}


@pytest.mark.skipif(small_run.QUICK, reason='the step is tested on eight elsewhere')
def test_on_eight_devices(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    texts: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parameters and batches are split over the devices. Losses and scores are those of one."""
    test = small_tasks.write_texts(tmp_path / 'test.jsonl', 30, 2)
    config = small_tasks.configured(
        source, 'text', data=texts | {'test_file': str(test)}, train={'epochs': 2.0, 'log_every': 1}
    )
    fine_tune(config, epath.Path(tmp_path / 'one'))
    monkeypatch.undo()
    fine_tune(
        dataclasses.replace(config, mesh=MeshConfig(data=2, fsdp=4)), epath.Path(tmp_path / 'eight')
    )
    one, eight = (small_run.metrics(tmp_path / name) for name in ('one', 'eight'))
    assert [line['step'] for line in one] == [line['step'] for line in eight]
    losses = [[line['loss'] for line in lines] for lines in (one, eight)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert (tmp_path / 'one' / 'test_predictions.jsonl').read_text() == (
        tmp_path / 'eight' / 'test_predictions.jsonl'
    ).read_text()


@pytest.mark.parametrize('impossible', [True] if small_run.QUICK else [False, True])
def test_questions(tmp_path: pathlib.Path, source: pathlib.Path, impossible: bool) -> None:
    write = small_tasks.write_questions
    files = {
        'train_file': str(write(tmp_path / 'train.json', 300, 0, impossible)),
        'eval_file': str(write(tmp_path / 'dev.json', 40, 1, impossible)),
    }
    data = files | {'max_query_length': 4, 'doc_stride': 8, 'max_seq_length': 32}
    config = small_tasks.configured(source, 'squad', data=data, train={'epochs': 10.0})
    fine_tune(config, epath.Path(tmp_path / 'w'))
    scores = results(tmp_path / 'w')['mean']
    assert scores['f1'] > 95, scores
    assert ('NoAns_f1' in scores) == impossible
    predictions = json.loads((tmp_path / 'w' / 'predictions.json').read_text())
    found = {r['id']: r['answer'] for r in said(tmp_path / 'w', tmp_path / 'dev.json')}
    assert found == predictions and len(found) == 40
    assert ('' in predictions.values()) == impossible


@pytest.mark.parametrize(
    'change, message',
    [
        ({'task': 'sst2'}, 'config.data.dir is empty'),
        ({'train_file': ''}, 'config.data.train_file is empty'),
        ({'max_seq_length': 64}, 'max_seq_length is 64; expected 8 to 32'),
        ({'text_field': 'txt'}, r'train.jsonl:1 .*txt'),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: pathlib.Path, source: pathlib.Path, texts: dict, change: dict, message: str
) -> None:
    config = small_tasks.configured(source, 'text', data=texts | change)
    with pytest.raises(ValueError, match=message):
        fine_tune(config, epath.Path(tmp_path / 'w'))
    assert not (tmp_path / 'w').exists()


def test_a_label_that_is_only_held_out(
    tmp_path: pathlib.Path, source: pathlib.Path, texts: dict
) -> None:
    with pathlib.Path(texts['eval_file']).open('a') as file:
        file.write('{"text": "a film", "label": "odd"}\n')
    config = small_tasks.configured(source, 'text', data=texts)
    with pytest.raises(ValueError, match=r"dev.jsonl:51 .*'odd'"):
        fine_tune(config, epath.Path(tmp_path / 'w'))
