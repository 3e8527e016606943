"""A workdir belongs to the run that began it; some keys of that run may change."""

import dataclasses
import json
import pathlib
import re
import shutil

import pytest
import small_run
from etils import epath

from bert_jax import main
from bert_jax.config import Config, DataConfig, ModelConfig, OptimConfig, Phase, TrainConfig
from bert_jax.training import run, running, workdir
from bert_jax.training.workdir import same_labels

BASE = Config(
    model=ModelConfig(vocab_size=99, hidden_size=32, num_attention_heads=2),
    data=DataConfig(sentences='line'),
    optim=OptimConfig(warmup_steps=2),
    train=TrainConfig(phases=(Phase(20, 32, 16, 5),)),
)


class Claims:
    """main.run up to where training would begin."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
        small_run.write_corpus(folder)
        self.folder, self.workdir = folder, folder / 'run'
        self.trained: list[Config] = []
        monkeypatch.setattr(run, 'train', lambda config, *_: self.trained.append(config))

    def start(
        self,
        config: Config = BASE,
        corpus: str = 'corpus.txt',
        start_over: bool = False,
        **sections: dict[str, object],
    ) -> Config:
        data = {
            'corpus': f'text:{self.folder / corpus}',
            'cache_dir': str(self.folder / 'cache'),
            'vocab_file': str(self.folder / 'vocab.txt'),
        }
        for name, values in ({'data': data | sections.pop('data', {})} | sections).items():
            section = dataclasses.replace(getattr(config, name), **values)
            config = dataclasses.replace(config, **{name: section})
        main.run(config, epath.Path(self.workdir), start_over)
        return self.trained[-1]


@pytest.fixture
def claims(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Claims:
    claims = Claims(tmp_path, monkeypatch)
    claims.start()
    (claims.workdir / 'checkpoints' / '5').mkdir(parents=True)  # something has come of it
    return claims


def test_workdir_says_what_the_run_is(claims: Claims) -> None:
    assert claims.trained[0].model.vocab_size == 21  # of vocab.txt
    assert (claims.workdir / 'config.json').read_text() == claims.trained[0].to_json()
    corpus = json.loads((claims.workdir / 'corpus.json').read_text())
    assert len(corpus['fingerprint']) >= 16
    vocabulary = (claims.workdir / 'vocab.txt').read_text()
    assert vocabulary == (claims.folder / 'vocab.txt').read_text()


@pytest.mark.parametrize(
    ('section', 'key', 'value'),
    [
        ('model', 'hidden_size', 64),
        ('model', 'num_hidden_layers', 3),
        ('data', 'seed', 1),
        ('data', 'masked_lm_prob', 0.2),
        ('optim', 'learning_rate', 0.5),
        ('train', 'seed', 1),
        ('train', 'phases', (Phase(20, 32, 32, 5),)),
        ('train', 'phases', (Phase(40, 32, 16, 5),)),
        ('train', 'phases', (Phase(20, 32, 16, 5), Phase(20, 32, 16, 5))),
    ],
)
def test_another_run_is_refused_by_key(
    claims: Claims, section: str, key: str, value: object
) -> None:
    before = (claims.workdir / 'config.json').read_text()
    with pytest.raises(ValueError, match=rf'holds another run: config\.{section}\.{key} is ') as e:
        claims.start(**{section: {key: value}})
    assert str(e.value).partition('. Use the same')[0].count('config.') == 1, 'no other key'
    assert f'--config.init_from={claims.workdir} --workdir=NEW' in str(e.value)
    assert len(claims.trained) == 1
    assert (claims.workdir / 'config.json').read_text() == before


def test_another_kind_of_run_is_named(claims: Claims) -> None:
    """The message names the kinds of the runs instead of every key that differs."""
    other = dataclasses.replace(BASE, data=DataConfig(task='text'))
    message = 'of a pretraining run, but this is a fine-tuning run'
    with pytest.raises(ValueError, match=message) as e:
        workdir.check(epath.Path(claims.workdir), other, {'fingerprint': '', 'name': 'text'})
    assert 'config.' not in str(e.value)


def test_all_differing_keys_are_named(claims: Claims) -> None:
    with pytest.raises(ValueError) as error:
        claims.start(model={'hidden_size': 64}, train={'seed': 5})
    assert 'config.model.hidden_size is 64, but the run has 32' in str(error.value)
    assert 'config.train.seed is 5, but the run has 0' in str(error.value)


def test_another_corpus_is_refused(claims: Claims) -> None:
    """It is refused before it is prepared, if its size is different."""
    text, file = (claims.folder / 'corpus.txt').read_text(), claims.folder / 'corpus.txt'
    prepared = [*(claims.folder / 'cache').iterdir()]
    (store,) = [path for path in prepared if path.is_dir()]
    (claims.folder / 'other.txt').write_text(text + '\nabba\nabc\n')
    of_run = rf'.*corpus\.txt\) has .*continue with the text of the run: .*tokens:{store}, without'
    with pytest.raises(ValueError, match=rf'other text: the text \(.*other\.txt\) has {of_run}'):
        claims.start(corpus='other.txt')
    file.write_text(text + '\nabba\nabc\n')  # same name, other content
    with pytest.raises(ValueError, match=rf'other text: {file} has [\d,]+ bytes, and had [\d,]+'):
        claims.start()
    vocabulary = claims.folder / 'vocab2.txt'
    vocabulary.write_text((claims.folder / 'vocab.txt').read_text().replace('##h', '##i'))
    with pytest.raises(ValueError, match='other text: the vocabulary has changed'):
        claims.start(data={'vocab_file': str(vocabulary)})
    assert [*(claims.folder / 'cache').iterdir()] == prepared
    claims.start(data={'corpus': f'tokens:{store}', 'vocab_file': ''})
    assert len(claims.trained) == 2
    file.write_text(text.replace('a', 'b'))  # the same size
    with pytest.raises(ValueError, match=r'other text: its beginning has changed.*tokens:'):
        claims.start()
    assert [*(claims.folder / 'cache').iterdir()] == prepared


def test_the_same_corpus_elsewhere_goes_on(claims: Claims) -> None:
    (claims.folder / 'moved.txt').write_text((claims.folder / 'corpus.txt').read_text())
    claims.start(corpus='moved.txt', data={'cache_dir': str(claims.folder / 'cache2')})
    assert len(claims.trained) == 2


@pytest.mark.parametrize(
    ('section', 'key', 'value'),
    [
        ('train', 'num_steps', 10),
        ('train', 'log_every', 3),
        ('train', 'accum_steps', 2),
        ('train', 'checkpoint_every', 7),
        ('train', 'nonfinite', 'skip'),
        ('mesh', 'fsdp', 2),
        ('model', 'remat', 'full'),
    ],
)
def test_what_moves_no_number_may_change(
    claims: Claims, section: str, key: str, value: object
) -> None:
    config = claims.start(**{section: {key: value}})
    assert getattr(getattr(config, section), key) == value
    assert json.loads((claims.workdir / 'config.json').read_text())[section][key] == value


def test_the_vocabulary_of_a_run_does_not_change(tmp_path: pathlib.Path) -> None:
    folder, data = epath.Path(tmp_path), {'fingerprint': 'f', 'name': 'text'}
    workdir.claim(folder, BASE, data, {'vocab.txt': b'a\nb\n'})
    (folder / 'checkpoints' / '5').mkdir(parents=True)
    workdir.claim(folder, BASE, data, {'vocab.txt': b'a\r\nb'})
    with pytest.raises(ValueError, match=r'its vocab\.txt differs from that of config\.init_from'):
        workdir.claim(folder, BASE, data, {'vocab.txt': b'a\nc\n'})
    assert (folder / 'vocab.txt').read_bytes() == b'a\nb\n'


def test_a_complete_run_is_not_touched(claims: Claims) -> None:
    (claims.workdir / 'checkpoints' / '20').mkdir()
    with pytest.raises(ValueError, match=r'phases is .*--config.init_from=.*run --workdir=NEW'):
        claims.start(train={'phases': (Phase(40, 32, 16, 5),)})
    for path in claims.workdir.iterdir():
        path.chmod(0o444)
    before = {path: path.stat().st_mtime_ns for path in claims.workdir.iterdir()}
    claims.start(train={'keep': 7})
    assert {path: path.stat().st_mtime_ns for path in claims.workdir.iterdir()} == before


def test_a_run_that_begins_again_keeps_the_earlier_one(claims: Claims) -> None:
    (claims.workdir / 'note.txt').write_text('mine')
    claims.start(train={'seed': 5}, start_over=True)
    earlier = claims.workdir.with_name('run.1')
    assert (earlier / 'note.txt').read_text() == 'mine' and (earlier / 'checkpoints/5').is_dir()
    assert json.loads((earlier / 'config.json').read_text())['train']['seed'] == 0
    assert json.loads((claims.workdir / 'config.json').read_text())['train']['seed'] == 5
    claims.start(train={'seed': 6}, start_over=True)
    assert claims.workdir.with_name('run.2').is_dir()
    with pytest.raises(ValueError, match='not on a disk'):
        workdir.name_aside(epath.Path('gs://bucket/run'))


def test_labels_do_not_change(claims: Claims) -> None:
    run = epath.Path(claims.workdir)
    config, data = workdir.read_config(run), workdir.read_data(run)
    workdir.write_atomically(run / 'corpus.json', json.dumps(data | {'labels': ['a', 'b']}))
    with pytest.raises(ValueError, match=r"labels are \['b', 'a'\], but the run has \['a', 'b'\]"):
        workdir.check(run, config, data | {'labels': ('b', 'a')})


def test_a_start_that_nothing_came_of_is_no_run(claims: Claims) -> None:
    (claims.workdir / 'checkpoints' / '5').rmdir()
    (claims.workdir / 'corpus.json').unlink()
    claims.start(train={'seed': 5})
    assert json.loads((claims.workdir / 'config.json').read_text())['train']['seed'] == 5


@pytest.mark.parametrize('name', ['config.json', 'corpus.json'])
def test_what_says_whose_checkpoints_they_are_may_not_be_damaged(claims: Claims, name: str) -> None:
    for content in ('{"model": ', '[]', '{"model": 3}'):
        (claims.workdir / name).write_text(content)
        with pytest.raises(ValueError, match=rf'{re.escape(name)} cannot be read'):
            claims.start()
    (claims.workdir / name).unlink()
    with pytest.raises(ValueError, match=rf'has checkpoints but no {re.escape(name)}'):
        claims.start()
    assert len(claims.trained) == 1


def test_another_vocabulary_to_start_from_is_refused(claims: Claims) -> None:
    vocabulary = claims.workdir / 'vocab.txt'
    vocabulary.write_text(vocabulary.read_text() + 'more\n')
    other = dataclasses.replace(BASE, init_from=str(claims.workdir))
    claims.workdir = claims.folder / 'other'
    with pytest.raises(ValueError, match=r'another vocabulary .*--config.data.vocab_file=.*vocab'):
        claims.start(other)


@pytest.mark.parametrize(
    ('one', 'other', 'same'),
    [
        ({'labels': ['a', 'b']}, {'labels': ['a', 'b']}, True),
        ({'labels': ['a', 'b']}, {'labels': ['b', 'a']}, False),
        ({'labels': ['no_answer']}, {'labels': []}, True),
        ({'no_answer': True}, {'labels': []}, True),
        ({'labels': ['a']}, None, True),
    ],
)
def test_whether_labels_are_the_same(
    tmp_path: pathlib.Path, one: dict, other: dict | None, same: bool
) -> None:
    for name, data in (('one', one), ('other', other)):
        (tmp_path / name).mkdir()
        if data is not None:
            (tmp_path / name / 'corpus.json').write_text(json.dumps(data))
    assert same_labels(tmp_path / 'one', tmp_path / 'other') == same


def test_a_run_whose_text_is_gone_goes_on_with_its_store(
    claims: Claims, capsys: pytest.CaptureFixture
) -> None:
    (claims.folder / 'corpus.txt').rename(claims.folder / 'away.txt')
    claims.start()
    assert len(claims.trained) == 2
    assert 'continues with the store that was made from it' in capsys.readouterr().err
    for change in ({'language': 'de'}, {'cache_dir': str(claims.folder / 'other')}):
        with pytest.raises(ValueError, match=r'no file matches .*corpus.txt'):
            claims.start(data=change)


def test_a_copied_workdir_is_not_in_use(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was made while the run was going has the run's file."""
    copy = claims.folder / 'copy'
    with running.alone_in(epath.Path(claims.workdir)), monkeypatch.context() as patch:
        shutil.copytree(claims.workdir, copy)
        patch.setattr(running, '_HELD', {})  # as in another process
        with pytest.raises(ValueError, match='is in use'):
            claims.start()
        claims.workdir = copy
        claims.start()
    assert len(claims.trained) == 2
