"""Parts of a run that are resolved before it starts, and --check for runs without files."""

import dataclasses
import pathlib
import re
from typing import Any

import pytest
import small_tasks
from etils import epath
from etils.epath import gpath
from small_look import changed

from bert_jax import main
from bert_jax.config import ModelConfig, Phase
from bert_jax.data.store import preparation
from bert_jax.parallel.mesh import make_mesh
from bert_jax.preflight import checks
from bert_jax.preflight.resolve import without_data
from bert_jax.training import workdir
from bert_jax.training.train_step import build_step

PHASES = (Phase(1, 16, 16, 2),)
EARLY = [
    ({'train.epochs': 1.0}, 'pretraining does not read config.train.epochs=1.0'),
    ({'train.phases': ((20, 16, 12, 2),)}, r'phases\[0\]: 12 is not a multiple of 8'),
    ({'eval.batch_size': 4}, 'eval.batch_size: 4 is not a multiple of 8'),
    ({'model.type_vocab_size': 1}, 'config.model.type_vocab_size is 1'),
    ({'mesh.tensor': 2}, "'vocab' of size 21 does not divide"),
    (
        {'init_from': 'start', 'model.hidden_size': 16},
        'hidden_size is 16, but config.init_from has',
    ),
    ({'train.seed': 1}, 'run holds another run: config.train.seed is 1, but the run has 0'),
]


@pytest.mark.parametrize(('changes', 'message'), EARLY)
def test_mistakes_are_found_before_text_is_tokenized(
    look: Any, changes: dict[str, Any], message: str
) -> None:
    if 'init_from' in changes:
        small_tasks.pretrained_folder(pathlib.Path('start'))
    run = epath.Path('run')
    workdir.claim(run, changed({}), {'fingerprint': '', 'name': 'corpus'}, {})
    (run / 'checkpoints' / '7').mkdir(parents=True)
    with pytest.raises(ValueError, match=message):
        main.run(changed(changes), run if 'train.seed' in changes else epath.Path('other'))
    assert not pathlib.Path('cache').exists(), 'the corpus was prepared'


@pytest.mark.parametrize('task', ['pretrain', 'text'])
def test_a_value_of_the_command_line_is_not_replaced(tmp_path: pathlib.Path, task: str) -> None:
    """It is kept even if it is the default, which a user may choose over the value of a file."""
    source = small_tasks.pretrained_folder(tmp_path / 'start')
    config = small_tasks.configured(source, task, data={'dir': 'x'}, train={'phases': PHASES})
    given = dataclasses.replace(config, model=ModelConfig())
    resolved, _ = without_data(given, ['model.vocab_size', 'model.dtype', 'data.lowercase'])
    assert resolved.model.hidden_size == 32
    with pytest.raises(ValueError, match=r'num_hidden_layers is 12, but config.init_from has 2; '):
        without_data(given, ['model.num_hidden_layers'])


@pytest.mark.parametrize('task', ['pretrain', 'text', 'ner', 'squad', 'all'])
def test_a_step_needs_no_data(tmp_path: pathlib.Path, task: str) -> None:
    source = small_tasks.pretrained_folder(tmp_path / 'start')
    data = {'dir': 'absent', 'pad_vocab_to_multiple_of': 8}
    train = {'phases': PHASES}
    model = {'hidden_dropout_prob': 0.1}
    config = small_tasks.configured(source, task, data=data, model=model, train=train)
    config, found = without_data(config)
    assert config.model.hidden_dropout_prob == 0.1
    assert config.model.vocab_size == 24 and found.config == config.model
    phase = config.train.phases[0]
    assert task == 'pretrain' or phase[1:4] == (16, 16, 1)
    mesh = make_mesh(dataclasses.replace(config.mesh, tensor=2))
    assert build_step(config, found, mesh).lower(phase)


def test_the_runs_of_a_table_belong_together(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    start = small_tasks.pretrained_folder(pathlib.Path('start'))
    file = str(small_tasks.write_texts(pathlib.Path('a.jsonl'), 40, 0))
    config = small_tasks.configured(start, 'text', data={'train_file': file, 'eval_file': file})
    pathlib.Path('run/seed_0').mkdir(parents=True)
    assert 'run holds runs of several seeds' in look(config)['workdir']


def test_fine_tuning(look: Any) -> None:
    start = small_tasks.pretrained_folder(pathlib.Path('start'))
    file = str(small_tasks.write_texts(pathlib.Path('a.jsonl'), 40, 0))
    data, train = {'train_file': file, 'eval_file': file}, {'seeds': 2, 'keep': 1}
    config = small_tasks.configured(start, 'text', data=data, train=train)
    found = look(config)
    assert (
        'FAIL' not in str(found)
        and '40 rows to train on, 40 held out (from the file that is trained on' in found['corpus']
    )
    assert 'run/seed_0: a new run; ' in found['workdir'] and ' 3 checkpoints' in found['disk']
    assert '16 x 16:' in found['fits']
    train = dataclasses.replace(config.train, accum_steps=4)
    found = look(dataclasses.replace(config, init_from='no', train=train))
    assert 'FAIL' in found['batch'] and 'train.batch_size: 16 is not a multiple of 32' in str(found)
    assert 'FAIL' in found['vocabulary'] and '40 rows' in found['corpus']
    assert all(found[name].startswith('skip') for name in ('init_from', 'disk', 'fits'))


def test_a_table_is_padded_for_a_vocabulary_that_is_still_to_be_trained(
    look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    changes = {'data.vocab_file': '', 'mesh.tensor': 2, 'data.pad_vocab_to_multiple_of': 2}
    found = look(changed(changes | {'model.vocab_size': 301}))
    assert not re.search('FAIL|skip', str(found)) and 'at most 301 tokens' in found['vocabulary']


def test_data_and_workdir_behind_urls(
    look: Any, bucket: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    pathlib.Path('corpus.txt').rename(bucket / 'corpus.txt')
    pathlib.Path('vocab.txt').rename(bucket / 'vocab.txt')
    (bucket / 'run').mkdir()  # which buckets don't ask for
    texts = {'data.corpus': 'text:s3://bucket/*s.txt', 'data.vocab_file': 's3://bucket/vocab.txt'}
    copy, copied = gpath.PosixGPath.copy, []
    note = lambda path, target: copied.append(path.name) or copy(path, target)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(gpath.PosixGPath, 'copy', note)
        found = look(changed(texts), 's3://bucket/run')
    assert set(copied) == {'vocab.txt'}  # text is read where it is
    assert not re.search('FAIL|skip', str(found)) and '21 tokens' in found['vocabulary'], found
    assert 's3://bucket/run: a new run' in found['workdir'] and 'is not on a disk' in found['disk']
    preparation.prepare(changed(texts)).rename(bucket / 'tokens')
    texts = {'data.corpus': 'tokens:s3://bucket/tokens', 'data.vocab_file': ''}
    found = look(changed(texts))
    assert not re.search('FAIL|skip', str(found)) and 'prepared' in found['corpus'], found
