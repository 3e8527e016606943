"""Text and tables behind a URL; s3:// is a local folder here, see conftest.py."""

import gzip
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
import small_tasks
from etils.epath import gpath

from bert_jax.config import Config, DataConfig
from bert_jax.data.store import format, preparation
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers, staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning.datasets import check_files, load_task_data


def config(cache: pathlib.Path, **data: Any) -> Config:
    return Config(data=DataConfig(cache_dir=str(cache), holdout=0.2, sentences='line', **data))


def write_vocabulary(folder: pathlib.Path) -> None:
    pieces = [*tokenizer.SPECIALS, *'acinrst.', *(f'##{c}' for c in 'acinrst')]
    (folder / 'vocab.txt').write_text('\n'.join(pieces) + '\n')


def write_text(folder: pathlib.Path, start: int, stop: int, name: str = 'a.txt.gz') -> None:
    documents = ['\n'.join(['a cat sat.', 'it ran ' + 'a' * i]) for i in range(start, stop)]
    (folder / name).write_bytes(gzip.compress('\n\n'.join(documents).encode(), mtime=0))


def copies(cache: pathlib.Path) -> list[str]:
    return sorted(path.name for path in cache.rglob('staged/*/*'))


def test_text_is_prepared_as_if_it_were_here(bucket: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_vocabulary(bucket)
    write_text(bucket, 0, 30)
    write_text(bucket, 30, 60, 'b.txt.gz')
    url = {'corpus': 'text:s3://bucket/*.gz', 'vocab_file': 's3://bucket/vocab.txt'}
    here = {'corpus': f'text:{bucket}/*.gz', 'vocab_file': f'{bucket}/vocab.txt'}
    caches = [tmp_path / name for name in ('one', 'two', 'three')]
    one, two = (preparation.prepare(config(cache, **url)) for cache in caches[:2])
    three = preparation.prepare(config(caches[2], **here))
    assert copies(caches[0]) == ['a.txt.gz', 'b.txt.gz', 'vocab.txt'] and not copies(caches[2])
    metas = [format.read_meta(folder) for folder in (one, two, three)]
    assert metas[0] == metas[1] and one.name == two.name  # wherever the copies lie
    assert metas[2].fingerprint == metas[0].fingerprint
    assert metas[0].counts['train'].documents > 40
    write_text(bucket, 0, 31)
    again = preparation.prepare(config(caches[0], **url))
    assert format.read_meta(again).fingerprint != metas[0].fingerprint
    assert copies(caches[0]) == ['a.txt.gz', 'a.txt.gz', 'b.txt.gz', 'vocab.txt']


def test_a_store_and_tables(bucket: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_text(bucket, 0, 60)
    made = preparation.prepare(config(tmp_path / 'one', corpus=f'text:{bucket}/a.txt.gz'))
    made.rename(bucket / 'tokens')
    found = preparation.prepare(config(tmp_path / 'two', corpus='tokens:s3://bucket/tokens'))
    assert found.is_relative_to(tmp_path / 'two') and found.name == 'tokens'
    ours, theirs = (format.open_store(folder, 'eval') for folder in (found, bucket / 'tokens'))
    assert ours.tokens.tolist() == theirs.tokens.tolist()

    vocabulary = tokenizer.WordPiece(small_tasks.PIECES, True)
    small_tasks.write_texts(bucket / 'a.jsonl', 9, 0)
    file = 's3://bucket/a.jsonl'
    texts = config(tmp_path / 'two', task='text', train_file=file, eval_file=file)
    assert len(load_task_data('text', texts, vocabulary).train) == 9
    (tmp_path / 'b,c.jsonl').write_text((bucket / 'a.jsonl').read_text())
    for value in ('s3://bucket/*.jsonl', file):  # a pattern or a URL, and a file that is here
        both = config(tmp_path / 'two', task='text', train_file=f'{value},{tmp_path}/b,c.jsonl')
        assert len(load_task_data('text', both, vocabulary).files['train_file']) == 2
    (bucket / 'GLUE' / 'RTE').mkdir(parents=True)
    for name in ('train.tsv', 'dev.tsv', 'model.bin'):
        text = 'index\tsentence1\tsentence2\tlabel\n0\ta film\tthe plot\tentailment\n'
        (bucket / 'GLUE' / 'RTE' / name).write_text(text)
    tables = config(tmp_path / 'two', task='rte', dir='s3://bucket/GLUE')
    check_files(tables.data)
    assert len(load_task_data('rte', tables, vocabulary).eval.rows) == 1
    assert copies(tmp_path / 'two') == ['GLUE', 'a.jsonl', 'tokens']
    assert not list((tmp_path / 'two').rglob('model.bin'))


def test_half_a_copy_is_none(
    bucket: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket / 'folder').mkdir()
    for name in 'ab':
        (bucket / 'folder' / name).write_text(name)
    copy, url = gpath.PosixGPath.copy, 's3://bucket/folder'

    def killed(self: Any, target: Any) -> Any:
        if self.name == 'b':
            raise KeyboardInterrupt
        return copy(self, target)

    monkeypatch.setattr(gpath.PosixGPath, 'copy', killed)
    with pytest.raises(KeyboardInterrupt):
        staging.local(url, tmp_path, ['*'])
    assert not copies(tmp_path)
    monkeypatch.setattr(gpath.PosixGPath, 'copy', lambda self, target: target.write_text(''))
    with pytest.raises(ValueError, match=r's3://bucket/folder/a changed while it was copied'):
        staging.local(url, tmp_path, ['*'])
    monkeypatch.setattr(gpath.PosixGPath, 'copy', copy)
    folder = staging.local(url, tmp_path, ['*'])
    assert [(folder / name).read_text() for name in 'ab'] == ['a', 'b']


def test_one_copies_and_the_others_wait(
    bucket: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock separates threads as it does processes."""
    (bucket / 'a.txt').write_text('text')
    copy, calls = gpath.PosixGPath.copy, []

    def slowly(self: Any, target: Any) -> Any:
        calls.append(self)
        time.sleep(0.5)
        return copy(self, target)

    monkeypatch.setattr(gpath.PosixGPath, 'copy', slowly)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(staging.local, ['s3://bucket/a.txt'] * 3, [tmp_path] * 3))
    assert len(set(found)) == 1 and found[0].read_text() == 'text' and len(calls) == 1


@pytest.mark.parametrize(
    'data, message',
    [
        ({'corpus': 'text:s3://bucket/*.txt'}, r"no file matches 's3://bucket/\*.txt'"),
        ({'corpus': 'text:s3://bucket/**/a.txt'}, r'\*\*/a.txt cannot be read .*`\*\*` pattern'),
        ({'corpus': 'text:nowhere://a.txt'}, 'nowhere:// are not supported; download'),
        ({'vocab_file': 's3://bucket/none.txt'}, 's3://bucket/none.txt cannot be read .*NotFound'),
        ({'corpus': 'tokens:s3://bucket'}, r's3://bucket is a folder; expected \*.\* or \*/\*.bin'),
        (
            {'vocab_file': 's3://bucket'},
            'expected vocab.txt or tokenizer.model or spiece.model',
        ),
    ],
)
def test_what_is_not_there_is_named(
    bucket: pathlib.Path, tmp_path: pathlib.Path, data: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        preparation.prepare(config(tmp_path / 'cache', **data))
    assert not (tmp_path / 'cache').exists()


def test_the_cache_is_a_local_folder() -> None:
    with pytest.raises(ValueError, match='cache_dir=s3://bucket/cache has to be a local folder'):
        staging.cache_of(DataConfig(cache_dir='s3://bucket/cache'))


def named(name: str, **values: Any) -> Exception:
    """An error that a file system may raise."""
    error: Exception = type(name, (Exception,), {})('it is said why')
    for key, value in values.items():
        setattr(error, key, value)
    return error


@pytest.mark.parametrize(
    ('error', 'mistake'),
    [
        (TimeoutError('it is said why'), False),
        (OSError('it is said why'), False),
        (named('UnavailableError'), False),
        (named('HttpError', code=503), False),
        (PermissionError('it is said why'), True),
        (named('PermissionDeniedError'), True),
        (named('HttpError', code=403), True),
    ],
)
def test_what_may_pass_is_no_mistake(
    bucket: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    mistake: bool,
) -> None:
    """It is raised as it is, because the run can be started again."""
    (bucket / 'a.txt').write_text('text')
    for method in ('copy', 'stat'):
        with monkeypatch.context() as patch:
            patch.setattr(gpath.PosixGPath, method, mock.Mock(side_effect=error))
            with pytest.raises(ValueError if mistake else type(error), match='why') as raised:
                staging.local('s3://bucket/a.txt', tmp_path)
        assert (raised.value is error) != mistake
        assert not copies(tmp_path)


def test_without_fetching_text_is_read_where_it_is(
    bucket: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    write_text(bucket, 0, 3)
    data = config(tmp_path / 'cache', corpus='text:s3://bucket/a.txt.gz').data
    source = readers.source(data, fetch=False)
    assert next(source.read(Summary())) == ['a cat sat.', 'it ran']
    assert source.identity == readers.source(data).identity
    assert not (tmp_path / 'cache').exists()
