"""--check prints every mistake that a run would fail at, and leaves no files behind."""

import pathlib
import re
import types
from typing import Any
from unittest import mock

import jax
import pytest
import small_tasks
from etils import epath
from small_look import changed

from bert_jax.config import Config
from bert_jax.data.store import format, preparation
from bert_jax.preflight import checks
from bert_jax.training import workdir

WRONG = [  # changed keys; the checks that fail, and their messages
    ({'train.phases': ((20, 16, 9, 2),)}, {'batch': r'phases\[0\]: 9 is not a multiple of 8'}),
    ({'eval.batch_size': 4}, {'batch': 'config.eval.batch_size: 4 is not a multiple of 8'}),
    ({'train.accum_steps': 2}, {'batch': '8 is not a multiple of 16'}),
    ({'mesh.fsdp': 3}, {'devices': 'config.mesh.fsdp=3 .* do not fit 8 devices'}),
    ({'data.corpus': 'text:no/*'}, {'corpus': r"no file matches 'no/\*' .*config.data.corpus"}),
    ({'data.corpus': 'tokens:no', 'data.vocab_file': ''}, {'corpus': 'not a prepared store'}),
    ({'data.corpus': ''}, {'corpus': r'config.data.corpus is empty: name the text .*=text:FOLDER'}),
    (
        {'data.language': 'English', 'data.sentences': 'split'},
        {'corpus': "language is 'English'; expected an ISO 639 code"},
    ),
    ({'data.documents': 'file'}, {'corpus': r'has 1 document\. .* Give more text'}),
    ({'data.vocab_file': 'no'}, {'vocabulary': 'config.data.vocab_file=no: .* does not exist'}),
    ({'init_from': 'no'}, {'init_from': 'no has no checkpoint'}),
    (
        {'init_from': 'start', 'model.max_position_embeddings': 32},
        {'init_from': 'another vocabulary .*vocab_file=start/vocab.txt'},
    ),
    (
        {'init_from': 'start', 'model.hidden_size': 16},
        {'vocabulary': 'config.model.hidden_size is 16, but config.init_from has 32; remove the'},
    ),
    ({'WORKDIR': 'corpus.txt/run'}, {'workdir': '--workdir=corpus.txt/run cannot be written'}),
    (
        {'HELD': 1},
        {'workdir': 'run holds another run: config.train.seed is 0, but the run has 1. Use'},
    ),
    ({'FREE': 30_000}, {'disk': 'for 4 checkpoints; . has 29.3 KiB. Free some space'}),
    (
        {'MEMORY': 1000},
        {'fits': r'8 x 16: [\d.]+ .iB of 1000 B on a device; 8 x 32: .*batch_size'},
    ),
    (
        {'data.corpus': 'text:no', 'data.vocab_file': 'no', 'HELD': 1, 'FREE': 1},
        {'vocabulary': 'no', 'workdir': 'seed', 'corpus': 'no', 'disk': 'Free some space'},
    ),
]


def hold(config: Config, fingerprint: str) -> None:
    """Makes the workdir that of a run at step 7."""
    workdir.claim(epath.Path('run'), config, {'fingerprint': fingerprint, 'name': 'text'}, {})
    pathlib.Path('run/checkpoints/7').mkdir(parents=True)


def test_all_is_well(look: Any) -> None:
    found = look()
    assert not re.search('FAIL|skip', str(found)), found
    assert '8 x cpu, 1 process; mesh: data 8, fsdp 1, tensor 1' in found['devices']
    assert '21 tokens' in found['vocabulary'] and 'to be prepared' in found['corpus']
    assert 'run: a new run' in found['workdir']
    assert re.search(
        r'for preparing the corpus and [\d.]+ [KM]iB for 4 checkpoints; ', found['disk']
    )
    lengths = re.findall(r'8 x (\d+): [\d.]+ [KMG]iB of [\d.]+ [MG]iB', found['fits'])
    assert lengths == ['16', '32']


def test_too_few_places_are_said(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    for rate, line in ((0.4, '40% of 29 tokens are 12 masked tokens, but .* is 4'), (0.1, '')):
        corpus = look(changed({'data.masked_lm_prob': rate}))['corpus']
        assert re.search(f'phase 2: {line}', corpus) if line else 'masked' not in corpus, corpus


def test_a_run_that_goes_on(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    fingerprint = format.read_meta(preparation.prepare(changed({}))).fingerprint
    hold(changed({}), fingerprint)
    found = look()
    assert 'run: continues from step 7 of 24' in found['workdir']
    assert f'prepared ({fingerprint})' in found['corpus'] and ' 3 checkpoints' in found['disk']
    assert 'complete at step 7' in look(changed({'train.num_steps': 7}))['workdir']
    other = changed({'data.holdout': 0.3})
    assert 'FAIL' not in str(look(other))  # as long as nobody knows what the data will be
    preparation.prepare(other)
    assert f'but the run has {fingerprint}' in look(other)['workdir']


@pytest.mark.parametrize(('changes', 'expected'), WRONG)
def test_what_is_wrong_is_named(
    look: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    config = changed({key: value for key, value in changes.items() if not key.isupper()})
    usage = types.SimpleNamespace(free=changes.get('FREE', 1 << 40))
    monkeypatch.setattr(checks.shutil, 'disk_usage', lambda _: usage)
    monkeypatch.setattr(checks, 'usable_memory', lambda: changes['MEMORY'])
    if 'MEMORY' not in changes:
        monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    if 'start' in changes.values():
        small_tasks.pretrained_folder(pathlib.Path('start'))
    if 'HELD' in changes:
        hold(changed({'train.seed': changes['HELD']}), 'f')
    found = look(config, changes.get('WORKDIR', 'run'))
    assert [name for name, line in found.items() if line.startswith('FAIL')] == list(expected)
    for name, message in expected.items():
        assert re.search(message, found[name]), found[name]


def test_a_compiler_that_finds_no_room(look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Used 20.1G of 15.7G hbm.\nMore')
    monkeypatch.setattr(jax.stages.Lowered, 'compile', mock.Mock(side_effect=error))
    assert '8 x 16: RESOURCE_EXHAUSTED: Used 20.1G of 15.7G hbm.; 8 x 32: RES' in look()['fits']
