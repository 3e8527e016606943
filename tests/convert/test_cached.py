"""Commands read checkpoints of other projects: they are converted into a cache."""

import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import small_look
import small_run
import small_tasks
from etils import epath
from folders import assert_same, change_config, tensors, write
from small_run import QUICK

import bert_jax
from bert_jax import main, predict
from bert_jax.config import DataConfig
from bert_jax.convert import cached
from bert_jax.convert.folders import convert_out
from bert_jax.data.text import staging
from bert_jax.preflight import checks
from bert_jax.training import workdir


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Returns the default cache, which is empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    return staging.cache_of(DataConfig())


def conversions(cache: pathlib.Path) -> list[str]:
    folder = cache / 'converted'
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.exists() else []


@pytest.mark.parametrize('family', ['hf', 'tf1'])
def test_a_checkpoint_is_converted_once(
    tmp_path: pathlib.Path,
    ours: pathlib.Path,
    cache: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    family: str,
) -> None:
    theirs = tmp_path / 'theirs'
    convert_out(family, ours, theirs)
    capsys.readouterr()
    lowercase = False if family == 'tf1' else None  # the files of hf contain it
    found = cached.model_folder(theirs, cache, lowercase)
    assert_same(ours, pathlib.Path(found))
    out, err = capsys.readouterr()
    assert not out and f'{theirs} is a {cached.FORMATS[family]} checkpoint' in err
    assert cached.model_folder(theirs, cache, lowercase) == found
    assert capsys.readouterr().err == '' and len(conversions(cache)) == 1
    shutil.copytree(theirs, tmp_path / 'copy')
    assert cached.model_folder(tmp_path / 'copy', cache, lowercase) == found


@pytest.mark.parametrize('change', ['weights', 'config', 'vocabulary', 'lowercase'])
def test_a_changed_file_is_noticed(theirs: pathlib.Path, cache: pathlib.Path, change: str) -> None:
    """The change is noticed even if the file's size and time are as before."""
    before = {path: path.stat() for path in theirs.iterdir()}
    first, lowercase = cached.model_folder(theirs, cache), None
    if change == 'weights':
        values = tensors(theirs)
        write(theirs, {name: value * 2 for name, value in values.items()})
    elif change == 'config':
        change_config(theirs, layer_norm_eps=1e-11)
    elif change == 'vocabulary':
        path = theirs / 'vocab.txt'
        path.write_text(path.read_text().replace('h\n', 'z\n'))
        (theirs / 'tokenizer.json').unlink(missing_ok=True)
    else:
        lowercase = False
    for path, stat in before.items():
        if path.exists():
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cached.model_folder(theirs, cache, lowercase) != first
    assert len(conversions(cache)) == 2


def test_other_folders_stay_as_they_are(
    tmp_path: pathlib.Path, ours: pathlib.Path, cache: pathlib.Path
) -> None:
    (tmp_path / 'damaged').mkdir()
    (tmp_path / 'damaged' / 'config.json').write_text('{')
    for folder in (ours, tmp_path / 'absent', tmp_path, tmp_path / 'damaged', 'gs://bucket/run'):
        assert cached.model_folder(folder, cache) == str(folder)
    assert not conversions(cache)


def test_a_failed_conversion_leaves_no_folder(theirs: pathlib.Path, cache: pathlib.Path) -> None:
    values = tensors(theirs)
    values.pop('bert.embeddings.LayerNorm.weight')
    write(theirs, values)
    with pytest.raises(ValueError, match=rf'LayerNorm.*convert --from=hf --input={theirs}'):
        cached.model_folder(theirs, cache)
    assert not conversions(cache)


def test_predict_reads_a_checkpoint(
    theirs: pathlib.Path, cache: pathlib.Path, ours: pathlib.Path
) -> None:
    bert = bert_jax.load(theirs)
    assert str(theirs) in repr(bert) and conversions(cache)
    expected = predict.load(ours).embed(['a b', 'c'])
    np.testing.assert_allclose(bert.embed(['a b', 'c']), expected, atol=1e-6)


@pytest.fixture
def start(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A Hugging Face folder that a tiny task can start from; the current folder is tmp_path."""
    monkeypatch.chdir(tmp_path)
    convert_out('hf', small_tasks.pretrained_folder(tmp_path / 'pretrained'), tmp_path / 'hf')
    return pathlib.Path('hf')


def configured(start: pathlib.Path, **train: Any) -> Any:
    file = small_tasks.write_texts(pathlib.Path('train.jsonl'), 60, 0)
    return small_tasks.configured(start, 'text', data={'train_file': str(file)}, train=train)


@pytest.mark.slow
@pytest.mark.skipif(QUICK, reason='test_readme_commands fine-tunes such a folder')
def test_fine_tuning_starts_from_a_checkpoint(
    start: pathlib.Path,
    cache: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    one_device: None,
) -> None:
    """The workdir records the folder as it was given, and the same command continues."""
    run = epath.Path('run')
    main.run(configured(start, epochs=1.0, seeds=2), run)
    assert ' predict --checkpoint=run/seed_' in capsys.readouterr().err
    for seed in (0, 1):
        assert workdir.read_config(run / f'seed_{seed}').init_from == 'hf'
    main.run(configured(start, epochs=1.0, seeds=3), run)
    assert len(json.loads((run / 'results.json').read_text())['seeds']) == 3
    other = dataclasses.replace(configured(start, epochs=1.0, seeds=3), init_from='pretrained')
    main.run(other, run)  # the parameters of this folder are the same


@pytest.mark.parametrize('kind', ['pretraining', 'finetuning'])
def test_a_check_leaves_no_conversion(
    start: pathlib.Path,
    cache: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setitem(checks.CHECKS, 'fits', lambda _: 'takes long')
    config = configured(start)
    if kind == 'pretraining':
        small_run.write_corpus(pathlib.Path())  # also the vocabulary, which is not that of hf
        texts = [f'the plot was good and {word} was bad .' for word in small_tasks.WORDS * 9]
        pathlib.Path('corpus.txt').write_text(
            '\n\n'.join(f'{t}\n{texts[i // 9]}' for i, t in enumerate(texts))
        )
        start_keys = {'init_from': 'hf', 'data.vocab_file': 'hf'}
        config = small_look.changed(start_keys | {'model.max_position_embeddings': 32})
    assert config.kind == kind
    code, shown = main.check(config, epath.Path('run')), capsys.readouterr().out
    assert code == 0 and 'hf fits' in shown, shown
    assert kind == 'pretraining' or 'a tenth of train.jsonl' in shown
    assert kind == 'pretraining' or ('labels: ' in shown and 'baseline ' in shown)
    assert not conversions(cache)
    usual, lowercase = staging.cache_of(config.data), None if config.data.lowercase else False
    cached.model_folder('hf', usual, lowercase)
    capsys.readouterr()
    assert main.check(config, epath.Path('run')) == 0  # uses the conversion
    assert 'converted into' not in capsys.readouterr().err
