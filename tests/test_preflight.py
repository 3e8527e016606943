"""--check: all that a run would stumble over is said at once, and nothing is left behind."""

import dataclasses
import pathlib
import re
import types
from typing import Any

import jax
import pytest
import small_run
import small_tasks
from etils import epath

from bert_jax import preflight, workdirs
from bert_jax.config import Config, DataConfig, OptimConfig, Phase, TrainConfig
from bert_jax.data import prepare, store

PHASES = (Phase(20, 16, 8, 2), Phase(4, 32, 8, 4))
NARROW = dataclasses.replace(small_tasks.MODEL, hidden_size=16)
WRONG = [  # what is changed; the looks that fail for it, and what they say
    ({'train.phases': (*PHASES, Phase(1, 16, 9, 2))}, {'batch': r'phases\[2\]: 9 is .* of 8'}),
    ({'eval.batch_size': 4}, {'batch': 'config.eval.batch_size: 4 is not a multiple of 8'}),
    ({'train.accum_steps': 2}, {'batch': '8 is not a multiple of 16'}),
    ({'mesh.fsdp': 3}, {'devices': 'config.mesh.fsdp=3 .* do not fit 8 devices'}),
    ({'data.corpus': 'text:no/*'}, {'corpus': r"no file matches 'no/\*' .*config.data.corpus"}),
    ({'data.corpus': 'tokens:no', 'data.vocab_file': ''}, {'corpus': 'not a prepared store'}),
    ({'data.vocab_file': 'no'}, {'vocabulary': 'config.data.vocab_file=no: .* does not exist'}),
    ({'init_from': 'no'}, {'init_from': 'no has no checkpoint'}),
    ({'init_from': 'START'}, {'init_from': 'another vocabulary .*vocab_file=.*/start/vocab.txt'}),
    ({'init_from': 'START', 'data.vocab_file': ''}, {'init_from': 'tokenise it with that one'}),
    (
        {'init_from': 'START', 'data.vocab_file': 'START', 'model': NARROW},
        {'init_from': r'does not fit config.model: .*float32\[20, 32\] there, float32\[20, 16\]'},
    ),
    ({'workdir': 'corpus.txt/run'}, {'workdir': '--workdir=.*corpus.txt/run can not be written'}),
    ({'held': 1}, {'workdir': 'holds another run: config.train.seed is 1 there, 0 here'}),
    ({'free': 30_000}, {'disk': 'for 4 checkpoints; .* has 0.00 GiB. Make room'}),
    ({'memory': 1000}, {'fits': '8 x 16: 0.00 GiB of 0.00 GiB on a device; 8 x 32: .*batch_size'}),
    (
        {
            'data.corpus': 'text:no',
            'data.vocab_file': 'no',
            'init_from': 'no',
            'held': 1,
            'free': 1,
        },
        {'vocabulary': 'no', 'corpus': 'no', 'workdir': 'seed', 'disk': 'room'},
    ),
]


class Job:
    """A pretraining job that is fine, in `folder`."""

    def __init__(self, folder: pathlib.Path, capsys: pytest.CaptureFixture[str]):
        small_run.write_corpus(folder)
        self.folder, self.workdir, self._capsys = folder, folder / 'runs' / 'one', capsys

    def config(self, **changes: Any) -> Config:
        """changes: values by keys, 'data.corpus' or 'init_from'."""
        texts = {'corpus': f'text:{self.folder / "corpus.txt"}', 'sentences': 'line'}
        vocabulary, cache = str(self.folder / 'vocab.txt'), str(self.folder / 'cache')
        data = DataConfig(**texts, vocab_file=vocabulary, cache_dir=cache)
        train, optim = TrainConfig(phases=PHASES), OptimConfig(warmup_steps=2)
        config = Config(small_tasks.MODEL, data, optim, train=train)
        for key, value in changes.items():
            section, _, name = key.partition('.')
            if name:
                value = dataclasses.replace(getattr(config, section), **{name: value})
            config = dataclasses.replace(config, **{section: value})
        return config

    def look(self, config: Config) -> tuple[int, dict[str, str]]:
        """The exit code, and a line of each look."""
        before = self.files()
        self._capsys.readouterr()
        code = preflight.check(config, epath.Path(self.workdir))
        found = {line.split()[1]: line for line in self._capsys.readouterr().out.splitlines()}
        assert self.files() == before, 'something is left behind'
        assert list(found) == list(preflight.LOOKS)
        assert code == (2 if any(line.startswith('FAIL') for line in found.values()) else 0)
        return code, found

    def files(self) -> dict[pathlib.Path, int]:
        return {p: p.is_file() and p.stat().st_mtime_ns for p in self.folder.rglob('*')}

    def holds(self, config: Config, fingerprint: str) -> None:
        """A run, at step 7."""
        data = {'fingerprint': fingerprint, 'name': 'text'}
        workdirs.claim(epath.Path(self.workdir), config, data, {})
        (self.workdir / 'checkpoints' / '7').mkdir(parents=True)


@pytest.fixture
def job(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Job:
    return Job(tmp_path, capsys)


def test_all_is_well(job: Job) -> None:
    code, found = job.look(job.config())
    assert code == 0 and not re.search('FAIL|skip', str(found)), found
    assert '8 x cpu, 1 processes; mesh: data 8, fsdp 1, tensor 1' in found['devices']
    assert '21 tokens' in found['vocabulary'] and 'to be prepared' in found['corpus']
    assert f'{job.workdir}: a new run' in found['workdir']
    assert 'for preparing the corpus and 0.00 GiB for 4 checkpoints; ' in found['disk']
    limits = re.findall(r'8 x (\d+): [\d.]+ GiB of ([\d.]+) GiB', found['fits'])
    assert [length for length, _ in limits] == ['16', '32'] and float(limits[0][1]) > 0.01


def test_a_run_that_goes_on(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preflight.LOOKS, 'fits', lambda _: 'which takes long')
    fingerprint = store.read_meta(prepare.prepare(job.config())).fingerprint
    job.holds(job.config(model=dataclasses.replace(small_tasks.MODEL, vocab_size=21)), fingerprint)
    code, found = job.look(job.config())
    assert code == 0 and f'{job.workdir}: goes on from step 7 of 24' in found['workdir']
    assert f'prepared ({fingerprint})' in found['corpus'] and ' 3 checkpoints' in found['disk']
    assert 'done, at step 7' in job.look(job.config(**{'train.num_steps': 7}))[1]['workdir']
    other = job.config(**{'data.holdout': 0.3})
    assert job.look(other)[0] == 0  # as long as nobody knows what the data will be
    prepare.prepare(other)
    assert f'the data are {fingerprint} there' in job.look(other)[1]['workdir']


@pytest.mark.parametrize(('changes', 'expected'), WRONG)
def test_what_is_wrong_is_named(
    job: Job, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    start, changes = job.folder / 'start', dict(changes)
    if 'START' in changes.values():
        small_tasks.pretrained_folder(start)
        changes = {k: str(start) if value == 'START' else value for k, value in changes.items()}
    if 'held' in changes:
        job.holds(job.config(**{'train.seed': changes.pop('held')}), 'f')
    if 'free' in changes:
        usage = types.SimpleNamespace(free=changes.pop('free'))
        monkeypatch.setattr(preflight.shutil, 'disk_usage', lambda _: usage)
    if limit := changes.pop('memory', 0):
        monkeypatch.setattr(preflight, '_memory', lambda: limit)
    else:
        monkeypatch.setitem(preflight.LOOKS, 'fits', lambda _: 'which takes long')
    job.workdir = job.folder / changes.pop('workdir', job.workdir)
    found = job.look(job.config(**changes))[1]
    assert [name for name, line in found.items() if line.startswith('FAIL')] == list(expected)
    for name, message in expected.items():
        assert re.search(message, found[name]), found[name]


def test_a_compiler_that_finds_no_room(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Used 20.1G of 15.7G hbm.\nMore')

    monkeypatch.setattr(jax.stages.Lowered, 'compile', full)
    found = job.look(job.config())[1]
    assert '8 x 16: RESOURCE_EXHAUSTED: Used 20.1G of 15.7G hbm.; 8 x 32: RES' in found['fits']


def test_fine_tuning(job: Job) -> None:
    start = small_tasks.pretrained_folder(job.folder / 'start')
    file = str(small_tasks.write_texts(job.folder / 'a.jsonl', 40, 0))
    files = {'train_file': file, 'eval_file': file}
    config = small_tasks.configured(start, 'text', data=files, train={'seeds': 2, 'keep': 1})
    code, found = job.look(config)
    assert code == 0 and 'text: 40 rows to train on, 40 held out' in found['corpus'], found
    assert f'{job.workdir}/seed_0: a new run; ' in found['workdir'] and '16 x 16:' in found['fits']
    assert ' 3 checkpoints' in found['disk']
    found = job.look(dataclasses.replace(config, init_from='no'))[1]
    assert 'FAIL' in found['vocabulary'] and '40 rows' in found['corpus']
    assert all(found[name].startswith('skip') for name in ('init_from', 'disk', 'fits'))
