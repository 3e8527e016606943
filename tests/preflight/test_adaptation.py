"""Pretraining that starts from a checkpoint takes its parameters, and initializes the others."""

import dataclasses
import json
import pathlib
import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_parameters
import small_tasks
from etils import epath

from bert_jax import main
from bert_jax.config import Config, default, from_dict
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.models import parameters
from bert_jax.preflight import checks, init_from
from bert_jax.preflight.pretraining import Pretraining
from bert_jax.preflight.resolve import without_data
from bert_jax.training import checkpoint, initialization, workdir

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with a text file, which has one document per line, and a model without a masked-LM
    head."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    for name, count in (('train.txt', 60), ('held_out.txt', 10)):
        lines = [small_tasks.sentence(rng, 'annabert') + '\n' for _ in range(count)]
        (tmp_path / name).write_text(''.join(lines))
    params = random_parameters.like_fresh(small_tasks.MODEL, ('pooler',))
    folder = tmp_path / 'start'
    folder.mkdir()
    config = Config(model=small_tasks.MODEL)
    pieces = [*small_tasks.PIECES[:-1], '##bert']
    model_dir.save(folder, config, params, tokenizer.WordPiece(pieces, True))
    return tmp_path


def configured(**changes: Any) -> Config:
    values = default()
    values.update_from_flattened_dict(
        {
            'objective': 'mlm',
            'init_from': 'start',
            'data.corpus': 'text:train.txt',
            'data.eval_corpus': 'text:held_out.txt',
            'data.documents': 'line',
            'data.cache_dir': 'cache',
            'model.scan_unroll': 1,
            'optim.warmup_steps': 0,
            'train.phases': ({'steps': 3, 'max_seq_length': 16, 'batch_size': 8},),
            'train.eval_every': 0,
            'train.log_every': 1,
        }
        | changes
    )
    return from_dict(values.to_dict())


OLD = [*tokenizer.SPECIALS, '[unused1]', 'anna', 'left']
# A vocabulary for a checkpoint whose vocabulary is OLD, and the tokens that are new in it; None if
# it is another vocabulary.
VOCABULARIES = [
    (OLD, ''),
    ([*OLD, 'bilge', 'gasket'], '2 tokens that init_from does not have: bilge, gasket'),
    ([*OLD[:5], 'bilge', *OLD[6:]], '1 token that init_from does not have: bilge'),
    ([*OLD[:6], 'left', 'anna'], None),
    (OLD[:7], None),
    ([*OLD[:6], 'bilge', *OLD[7:]], None),
]


@pytest.mark.parametrize(('pieces', 'new'), VOCABULARIES)
def test_more_tokens_than_the_checkpoint_has(
    tmp_path: pathlib.Path, pieces: list[str], new: str | None
) -> None:
    model = dataclasses.replace(small_tasks.MODEL, vocab_size=len(OLD))
    (tmp_path / 'config.json').write_text(Config(model=model).to_json())
    (tmp_path / 'vocab.txt').write_text('\r\n'.join(OLD) + '\r\n')
    config = dataclasses.replace(Config(model=model), init_from=str(tmp_path))
    vocabulary = tokenizer.WordPiece(pieces, True)
    if new is None:
        with pytest.raises(ValueError, match=r'has another vocabulary .*vocab_file=.*vocab\.txt'):
            init_from.vocab_size(config, vocabulary)
    else:
        assert init_from.vocab_size(config, vocabulary) == len(pieces)
        assert init_from.new_names(config, vocabulary) == new


@pytest.mark.slow
def test_a_run_whose_start_is_gone_later(
    here: pathlib.Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Its workdir has the architecture, and the vocabulary with the new words."""
    caplog.set_level('INFO')
    words, run = {'data.add_tokens': 'annabert'}, epath.Path('run')
    main.run(configured(**words, **{'train.num_steps': 1}), run)
    assert 'heads that start does not have start from random values: masked_lm' in caplog.text
    assert '1 new token: each embedding starts as the mean of its former pieces' in caplog.text
    before = workdir.read_data(run)
    pathlib.Path('start').rename('away')
    capsys.readouterr()
    main.run(configured(**words), run)
    assert 'continuing from step 1 of 3' in caplog.text
    said = capsys.readouterr().err
    assert 'config.init_from=start does not exist' in said and 'does not need it' in said
    assert workdir.read_data(run) == before and before['start']
    lines = map(json.loads, pathlib.Path('run/metrics.jsonl').read_text().splitlines())
    losses = {line['step']: line['mlm_loss'] for line in lines if line['split'] == 'eval'}
    assert list(losses) == [0, 3]
    saved, vocabulary = model_dir.read_config('run')
    assert vocabulary.pieces[-1] == 'annabert' and saved.model.vocab_size == len(vocabulary.pieces)
    assert saved.model.hidden_size == 32 and saved.data.lowercase and saved.init_from == 'start'
    counts = json.loads(next(pathlib.Path('cache').glob('*/store.json')).read_text())['counts']
    assert {split: n['documents'] for split, n in counts.items()} == {'train': 60, 'eval': 10}
    with pytest.raises(ValueError, match='init_from is other, but the run began from start'):
        main.run(configured(**words, init_from='other'), run)
    for folder, start_over in ((epath.Path('new'), False), (run, True)):
        with pytest.raises(ValueError, match='init_from=start does not exist'):
            main.run(configured(**words), folder, start_over)
    assert run.exists() and not epath.Path('run.1').exists()


def test_the_larger_vocabulary_is_written_once_and_completely(
    here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes share the cache, and a run may read the folder while another starts."""
    config, saved = configured(**{'data.add_tokens': 'annabert'}), list[pathlib.Path]()

    def save(vocabulary: tokenizer.Tokenizer, folder: pathlib.Path) -> None:
        saved.append(folder)
        original(vocabulary, folder)

    original = tokenizer.Tokenizer.save
    monkeypatch.setattr(tokenizer.Tokenizer, 'save', save)
    folders = {init_from.start_from(config).data.vocab_file for _ in range(2)}
    assert len(folders) == len(saved) == 1 and str(saved[0]) not in folders
    assert tokenizer.load(folders.pop()).pieces[-1] == 'annabert'
    # A run that has begun keeps its vocabulary, if that has the words.
    own = epath.Path('start')
    config = configured(**{'data.add_tokens': 'anna'})
    assert init_from.start_from(config, own).data.vocab_file == 'start'
    with pytest.raises(ValueError, match="in the vocabulary already: 'anna'"):
        init_from.start_from(config)


@pytest.mark.parametrize('words', (['anna'], ['anna', 'film', 'zzz'], ['zzz']))
def test_a_run_keeps_its_new_words(here: pathlib.Path, words: list[str]) -> None:
    own, known = epath.Path('start'), tokenizer.load('start')
    init_from._check_same_words('anna,film', ['film', 'anna'], known, own)
    with pytest.raises(ValueError, match='other words than the run in start began with'):
        init_from._check_same_words('anna,film', words, known, own)


def test_rows_of_new_tokens(here: pathlib.Path) -> None:
    config = configured(**{'data.add_tokens': 'annabert'})
    resolver = Pretraining(config, epath.Path('run'), pathlib.Path('cache'))
    (new, old), *others = resolver.new_tokens.items()
    pieces = [*small_tasks.PIECES[:-1], '##bert']
    assert not others and new == len(pieces)
    assert [pieces[i] for i in old] == ['anna', '##bert']
    step = resolver.step
    fresh = step.init(jax.random.key(1)).params
    optional = step.task.optional_heads
    params = initialization.initial_params('start', fresh, step.info, optional_heads=optional)
    params = initialization.with_new_tokens(params, step.info, resolver.new_tokens)
    table = params['encoder']['embeddings']['word_embeddings']
    before = checkpoint.load_params(
        'start', model_dir.abstract_params(small_tasks.MODEL, ('pooler',))
    )['encoder']['embeddings']['word_embeddings']
    np.testing.assert_array_equal(table[:new], before)
    np.testing.assert_allclose(table[new], jnp.mean(before[jnp.array(old)], 0), atol=1e-7)


@pytest.mark.parametrize(
    ('there', 'absent'),
    [
        (('pooler',), 'masked_lm, next_sentence'),
        (('masked_lm',), 'next_sentence, pooler'),
    ],
)
def test_heads_that_the_checkpoint_does_not_have(
    here: pathlib.Path, caplog: pytest.LogCaptureFixture, there: tuple[str, ...], absent: str
) -> None:
    """Each of them starts fresh, a line says so, and the others are those of the checkpoint."""
    caplog.set_level('INFO')
    saved = random_parameters.like_fresh(small_tasks.MODEL, there, seed=1)
    vocabulary = tokenizer.WordPiece(small_tasks.PIECES, True)
    (here / 'other').mkdir()
    model_dir.save(here / 'other', Config(model=small_tasks.MODEL), saved, vocabulary)
    config, task = without_data(configured(objective='mlm+nsp', init_from='other'))
    fresh = random_parameters.like_fresh(small_tasks.MODEL, task.heads)
    info = parameters.describe(model_dir._boxed_params(config.model, task.heads, 1))
    params = initialization.initial_params(
        'other', jax.tree.map(jnp.asarray, fresh), info, optional_heads=task.optional_heads
    )
    line = f'heads that other does not have start from random values: {absent}'
    assert line in caplog.messages
    before, now = map(initialization.flatten, (saved, params))
    assert before.keys() <= now.keys() and before.keys() != now.keys()
    for path, value in now.items():
        expected = before.get(path, initialization.flatten(fresh)[path])
        np.testing.assert_array_equal(value, expected, err_msg=path)


def test_what_comes_from_the_checkpoint(here: pathlib.Path) -> None:
    config, task = without_data(configured())
    assert dataclasses.replace(config.model, vocab_size=20, scan_unroll=0) == dataclasses.replace(
        small_tasks.MODEL, vocab_size=20, scan_unroll=0
    )
    assert task.config == config.model
    assert without_data(configured(**{'optim.freeze': '2'}))[0].optim.freeze == '2'
    with pytest.raises(ValueError, match=r"freeze is '3'; expected at most 2, the number of layer"):
        without_data(configured(**{'optim.freeze': '3'}))
    assert without_data(configured(reinit_layers=2))[0].reinit_layers == 2
    with pytest.raises(ValueError, match=r'reinit_layers is 3; expected 0 to 2, .* of config.init'):
        without_data(configured(reinit_layers=3))
    with pytest.raises(ValueError, match=r'hidden_size is 96, but config\.init_from has 32'):
        without_data(configured(**{'model.hidden_size': 96}))
    with pytest.raises(ValueError, match=r'lowercase is False, but config\.init_from has True'):
        without_data(configured(**{'data.lowercase': False}))
    with pytest.raises(ValueError, match=r'empty if init_from is empty'):
        configured(**{'init_from': '', 'data.add_tokens': 'x'})
    with pytest.raises(ValueError, match=r'phases\[0\] .* at most 32, the positions'):
        phases = ({'steps': 3, 'max_seq_length': 64, 'batch_size': 8},)
        without_data(configured(**{'train.phases': phases}))


def test_a_check_writes_nothing(here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the larger vocabulary nor anything else is written, in the cache or elsewhere."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(here / 'default'))
    monkeypatch.delitem(checks.CHECKS, 'fits')  # compiles, which takes long
    before = sorted(here.rglob('*'))
    for cache in ('cache', ''):
        config = configured(**{'data.add_tokens': 'annabert', 'data.cache_dir': cache})
        assert checks.check(config, epath.Path('run')) == 0
    assert sorted(here.rglob('*')) == before


def test_missing_held_out_text(here: pathlib.Path) -> None:
    config = configured(**{'data.eval_corpus': 'text:no.txt'})
    resolver = Pretraining(config, epath.Path('run'), pathlib.Path('cache'))
    with pytest.raises(
        ValueError, match=r'config\.data\.eval_corpus=text:no\.txt: no file matches'
    ):
        resolver.run()
