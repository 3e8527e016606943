"""Paths that do not exist are reported before anything that takes time is read or imported."""

import pathlib
import subprocess
import sys
from typing import Any

import pytest
import small_run
from etils import epath
from small_look import changed

from bert_jax import main
from bert_jax.data.text import readers
from bert_jax.preflight import paths

FINETUNING = {'data.task': 'text', 'data.corpus': 'builtin'}
GIVE = 'give a workdir, a folder written by bert_jax convert, the folder of a Hugging Face'
WRONG: list[tuple[dict[str, Any], str]] = [
    ({'init_from': 'no'}, rf'config\.init_from=no does not exist \(from .*\); {GIVE}'),
    ({'init_from': 'corpus.txt'}, 'config.init_from=corpus.txt is not a folder'),
    ({'init_from': 'empty'}, 'config.init_from=empty has no config.json; give'),
    ({'init_from': 'runs'}, 'has no config.json, but its folders have: runs/one; give'),
    ({'init_from': 'broken'}, 'config.init_from=broken has a config.json that cannot be read'),
    ({'distill.teacher': '/no/where', 'objective': 'distill'}, 'distill.teacher=/no/where does'),
    ({'data.vocab_file': 'no'}, r'config\.data\.vocab_file=no does not exist \(from /'),
    ({'data.corpus': 'text:no/*'}, r"no file matches 'no/\*'"),
    ({'data.corpus': 'en=text:no'}, "no file matches 'no'"),
    ({'data.corpus': ''}, 'config.data.corpus is empty'),
    ({'data.corpus': 'tokens:no'}, r'data.corpus=tokens:no \(from .*: no is not a prepared store'),
    ({'data.eval_corpus': 'text:no'}, "config.data.eval_corpus=text:no: no file matches 'no'"),
    *((FINETUNING | {f'data.{key}': 'no.csv'}, f'config.data.{key}=no.csv does not exist')
      for key in ('train_file', 'eval_file', 'test_file', 'dir')),
]  # fmt: skip
FINE: list[dict[str, Any]] = [
    {},
    {'init_from': 'gs://bucket/run'},
    {'data.vocab_file': 'gs://bucket/vocab.txt', 'data.corpus': 'text:gs://bucket/*.txt'},
    {'data.corpus': 'tfds:wikipedia:train'},
    {'init_from': 'runs/one'},
    {'init_from': 'google-bert/bert-base-uncased'},
    {'distill.teacher': 'bert-base-uncased', 'objective': 'distill'},
    {'init_from': 'adapter'},
    {'init_from': 'sentences'},
    FINETUNING | {'data.task': 'sst2', 'data.dir': 'tfds'},
]


@pytest.fixture(autouse=True)
def folder(look: Any) -> None:
    """The current folder has a corpus and a vocabulary, and folders that may hold a model."""
    for name in ('empty', 'broken', 'runs/one', 'started/checkpoints/7'):
        pathlib.Path(name).mkdir(parents=True)
    for path in ('adapter/adapter_config.json', 'sentences/modules.json'):
        pathlib.Path(path).parent.mkdir()
        pathlib.Path(path).write_text('{}')
    pathlib.Path('broken/config.json').write_text('{')
    pathlib.Path('runs/one/config.json').write_text('{}')


def problems(changes: dict[str, Any], run: str = 'run') -> list[str]:
    return paths.problems(changed(changes), epath.Path(run))


@pytest.mark.parametrize(('changes', 'message'), WRONG)
def test_paths_that_do_not_exist(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, 'lines', lambda *_: pytest.fail('text is read'))
    with pytest.raises(ValueError, match=message):
        main.run(changed(changes), epath.Path('run'))
    assert len(problems(changes)) == 1


@pytest.mark.parametrize('changes', FINE)
def test_paths_that_exist_or_are_looked_at_later(changes: dict[str, Any]) -> None:
    assert problems(changes) == []


def test_a_run_that_continues_does_not_read_its_start() -> None:
    assert problems({'init_from': 'no'}) and not problems({'init_from': 'no'}, 'started')


def test_all_of_them_are_reported(capsys: pytest.CaptureFixture) -> None:
    wrong = {'init_from': 'no', 'data.vocab_file': 'x', 'data.corpus': 'text:none'}
    assert main.check(changed(wrong), epath.Path('run')) == 2
    *failed, rest = capsys.readouterr().out.splitlines()
    assert [line[:18] for line in failed] == ['FAIL  paths       '] * 3
    named = zip(('init_from=no ', 'vocab_file=x ', "matches 'none'"), failed, strict=True)
    assert all(name in line for name, line in named)
    assert rest == 'skip  the rest    not checked until these paths are corrected'


def test_jax_is_not_imported() -> None:
    code = (
        'import sys; sys.modules["jax"] = sys.modules["tensorflow"] = None\n'
        'from bert_jax import config, main; from etils import epath\n'
        'config = config.from_dict({"init_from": "no"})\n'
        'sys.exit(main.check(config, epath.Path("run")))'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(
        command, env=small_run.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and 'config.init_from=no does not exist' in done.stdout, done.stderr
