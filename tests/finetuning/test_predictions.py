"""Predictions of fine-tuned models, here of random ones."""

import contextlib
import copy
import errno
import json
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import small_tasks

from bert_jax import predict
from bert_jax.config import command_line, disk
from bert_jax.data.labelled import examples
from bert_jax.data.summary import Summary
from bert_jax.finetuning import prediction_files, predictions
from bert_jax.finetuning.classification import ClassificationProcessor
from bert_jax.finetuning.prediction_files import open_writer
from bert_jax.inference import trained_model
from bert_jax.inference.trained_model import Bert


def fine_tuned(folder: pathlib.Path, heads: tuple[str, ...], labels: tuple[str, ...]) -> Bert:
    return trained_model.Bert.load(small_tasks.fine_tuned_folder(folder, heads, labels))


def said(bert: Bert, path: pathlib.Path, *lines: dict[str, Any]) -> tuple[list, dict[str, int]]:
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    bert.counted = Summary()
    return list(predictions.records(bert, [path])), bert.counted.lines()


def test_long_texts_are_cut_as_in_training(tmp_path: pathlib.Path) -> None:
    bert = fine_tuned(tmp_path / 'model', ('pooler', 'classifier'), ('neg', 'pos'))
    words = ['good' if i % 3 else 'bad' for i in range(25)]
    texts = [{'text': ' '.join(words[:n])} for n in (14, 25, 3)]
    (short, long, other), odd = said(bert, tmp_path / 'a.jsonl', *texts)
    assert long == short != other
    assert odd == {'texts of more than 16 tokens, cut': 1}


def test_a_file_of_records(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command reads at most one window ahead of the records that it has written."""
    bert = fine_tuned(tmp_path / 'model', ('pooler', 'classifier'), ('neg', 'pos'))
    lines = [{'text': ' '.join(['good'] * (1 + i % 5))} for i in range(25)]
    expected, _ = said(bert, tmp_path / 'a.jsonl', *lines)
    monkeypatch.setattr(ClassificationProcessor, 'window', 4)
    read: list[int] = []
    written: list[int] = []  # the rows in the output, when the last example was read
    output, partial = tmp_path / 'out.jsonl', tmp_path / 'out.jsonl.partial'
    iter_file = examples.iter_file

    def watched(*arguments: Any, **options: Any) -> Iterator[examples.Example]:
        for example in iter_file(*arguments, **options):
            read.append(1)
            if len(read) % 25 == 0 and partial.exists():
                written.append(len(partial.read_text().splitlines()))
                assert not output.exists()
            yield example

    monkeypatch.setattr(examples, 'iter_file', watched)
    monkeypatch.setattr(predict, 'FLAGS', copy.deepcopy(predict.FLAGS))
    records = predictions.records(bert, [tmp_path / 'a.jsonl'])
    next(records)
    assert len(read) == 4
    read.clear()
    arguments = {'checkpoint': tmp_path / 'model', 'input': tmp_path / 'a.jsonl', 'output': output}
    flags = [f'--{name}={value}' for name, value in arguments.items()]
    assert predict.main(['predict', *flags]) == 0
    assert written == [24], 'rows are written as they come'
    assert '25 records' in capsys.readouterr().err
    found = list(map(json.loads, output.read_text().splitlines()))
    assert found == [line | record for line, record in zip(lines, expected, strict=True)]
    assert [r['label'] for r in expected[:5]] * 5 == [r['label'] for r in expected]


def test_pairs_and_single_texts_are_told_apart(tmp_path: pathlib.Path) -> None:
    bert = fine_tuned(tmp_path / 'model', ('pooler', 'classifier'), ('neg', 'pos'))
    single, pair = {'text': 'good'}, {'text': 'good', 'text_b': 'bad'}
    with pytest.raises(ValueError, match=r'a.jsonl:2 has a second text, unlike the examples'):
        said(bert, tmp_path / 'a.jsonl', single, pair)
    bert.pairs = True
    assert len(said(bert, tmp_path / 'a.jsonl', pair)[0]) == 1
    with pytest.raises(ValueError, match=r'a.jsonl:1 has no second text, unlike .* the training'):
        said(bert, tmp_path / 'a.jsonl', single)


def test_what_is_odd_about_words_is_counted(tmp_path: pathlib.Path) -> None:
    bert = fine_tuned(tmp_path / 'model', ('tagger',), ('O', 'B-x'))
    file = tmp_path / 'a.jsonl'
    (record,), odd = said(bert, file, {'words': ['anna', '\u200b', *['it'] * 30]})

    assert len(record['tags']) == 32 and record['tags'][1] == 'O'
    assert odd == {
        f"words that the tokenizer drops, tagged O (first: {file}:1 '\\u200b')": 1,
        f'sentences in several windows (first: {file}:1)': 1,
    }
    (record,), _ = said(bert, file, {'words': [' anna', '\xa0']})
    assert record['words'] == [' anna', '\xa0'] and record['tags'][1] == 'O'


def test_what_is_odd_about_questions_is_counted(tmp_path: pathlib.Path) -> None:
    bert = fine_tuned(tmp_path / 'model', ('span',), ())
    asked = {'question': 'who went who went who ?', 'context': 'the plot was good . anna went'}
    (record,), odd = said(bert, tmp_path / 'a.jsonl', asked)
    for found in (record | {'text': record['answer']}, *record['n_best']):
        assert found['text'] and asked['context'][found['start'] : found['end']] == found['text']
    assert odd == {'questions': 1, 'questions cut to max_query_length': 1, 'windows': 1}


@pytest.mark.parametrize(
    'line',
    [
        '[]',
        '{"word": ["a"]}',
        '{"words": "a"}',
        '{"words": [""]}',
        '{"words": ["\\ud800"]}',
        '{',
        '[' * 100_000,
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_no_sentence(tmp_path: pathlib.Path, line: str) -> None:
    bert = fine_tuned(tmp_path / 'model', ('tagger',), ('O', 'B-x'))
    (tmp_path / 'a.jsonl').write_text(line + '\n')
    with pytest.raises(ValueError, match=r'a\.jsonl:1'):
        list(predictions.records(bert, [tmp_path / 'a.jsonl']))


@pytest.mark.parametrize(
    ('facts', 'expected'),
    [
        ({'labels': ['no_answer']}, True),  # as older workdirs have it
        ({'labels': [], 'no_answer': True}, True),
        ({'labels': [], 'no_answer': False}, False),
        ({}, False),
    ],
)
def test_whether_a_question_may_have_no_answer(
    tmp_path: pathlib.Path, facts: dict[str, Any], expected: bool
) -> None:
    fine_tuned(tmp_path / 'model', ('span',), ())
    (tmp_path / 'model' / 'corpus.json').write_text(
        json.dumps({'fingerprint': '', 'lowercase': True} | facts)
    )
    bert = trained_model.Bert.load(tmp_path / 'model')
    assert (bert.no_answer, bert.labels) == (expected, ())


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('a.csv', 'text,label\n"a\nb",x\n\nc,y\n'),
        ('a.tsv', 'text\tlabel\na"\tx\nb\ty\n'),
        ('a.jsonl', '{"text": "a"}\n\n{"text": "b"}\n'),
    ],
)
def test_the_progress_counts_rows(tmp_path: pathlib.Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert predictions.number_of_rows(tmp_path / name) == 2


def classifier(folder: pathlib.Path) -> Bert:
    return fine_tuned(folder / 'model', ('pooler', 'classifier'), ('neg', 'pos'))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_whole_rows_and_says_how_many(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    classifier(tmp_path)
    monkeypatch.setattr(ClassificationProcessor, 'window', 4)
    (tmp_path / 'a.jsonl').write_text('{"text": "good", "label": "pos"}\n' * 25)
    iter_file = examples.iter_file

    def killed(*arguments: Any, **options: Any) -> Iterator[examples.Example]:
        for i, example in enumerate(iter_file(*arguments, **options)):
            if i == 10:  # like a callback of the garbage collector, whose exceptions are ignored
                with contextlib.suppress(BaseException):
                    os.kill(os.getpid(), number)
            yield example

    monkeypatch.setattr(examples, 'iter_file', killed)
    monkeypatch.setattr(predict, 'FLAGS', copy.deepcopy(predict.FLAGS))
    names = {'checkpoint': 'model', 'input': 'a.jsonl', 'output': 'out.csv'}
    flags = [f'--{name}={tmp_path / value}' for name, value in names.items()]
    before = signal.getsignal(number)
    code = command_line.run('predict', predict.main, ['predict', *flags], predict.FLAGS)
    said = capsys.readouterr().err
    assert code == 128 + number and signal.getsignal(number) == before
    part = tmp_path / 'out.csv.partial'
    assert f'predict: interrupted; {part} has the 8 records before it' in said
    assert f"{tmp_path}/a.jsonl: text='text', not read: 'label'" in said
    assert len(part.read_text().splitlines()) == 9 and not (tmp_path / 'out.csv').exists()


def test_a_full_disk_leaves_whole_rows_and_says_how_many(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert, output = classifier(tmp_path), tmp_path / 'out.jsonl'
    (tmp_path / 'a.jsonl').write_text('{"text": "good"}\n' * 9)

    @contextlib.contextmanager
    def full(path: pathlib.Path, summary: Summary) -> Iterator[Any]:
        with open_writer(path, summary) as write:
            count = 0

            def limited(record: Any) -> None:
                nonlocal count
                count += 1
                if count > 3:
                    with path.open('a') as file:
                        file.write('{"tex')
                    raise OSError(errno.ENOSPC, 'No space left on device')
                write(record)

            yield limited

    monkeypatch.setattr(predictions, 'open_writer', full)
    said = r'^no space is left for .*; .*partial has the 3 records before it\. Make room, and run'
    with pytest.raises(disk.DiskError, match=said):
        predictions.write_records(bert, [tmp_path / 'a.jsonl'], output)
    part = tmp_path / 'out.jsonl.partial'
    assert len(list(map(json.loads, part.read_text().splitlines()))) == 3 and not output.exists()

    def broken(*_: object, **__: object) -> Iterator[examples.Example]:
        yield from ()
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(examples, 'iter_file', broken)
    with pytest.raises(ValueError, match=r'a\.jsonl cannot be read \(Input/output error\)$'):
        predictions.write_records(bert, [tmp_path / 'a.jsonl'], output)


@pytest.mark.parametrize('text', ['a\n', 'a\nbb\n', 'a\n\nbbb', 'a\n' + 'b' * 9, 'b' * 9])
def test_a_part_of_a_row_is_removed(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / 'a.txt'
    path.write_text(text)
    prediction_files.keep_whole_lines(path)
    assert path.read_text() == text[: text.rfind('\n') + 1]


def test_half_a_surrogate_pair_in_a_column_is_written_as_in_json(tmp_path: pathlib.Path) -> None:
    with prediction_files.open_writer(tmp_path / 'a.jsonl', Summary()) as write:
        write({'note': '\ud83d', 'text': 'é'})
    assert (tmp_path / 'a.jsonl').read_text() == '{"note": "\\ud83d", "text": "é"}\n'


def test_every_format_gives_the_same_predictions(tmp_path: pathlib.Path) -> None:
    contents = {
        'a.csv': 'id,text\n1,good film\n2,bad\n',
        'a.tsv': 'id\ttext\n1\tgood film\n2\tbad\n',
        'a.jsonl': '{"id": 1, "text": "good film"}\n{"id": 2, "text": "bad"}\n',
        'a.json': '[{"id": 1, "text": "good film"}, {"id": 2, "text": "bad"}]',
    }
    bert = classifier(tmp_path)
    found = []
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        records = list(predictions.records(bert, [tmp_path / name], columns=True))
        found.append([{**record, 'id': int(record['id'])} for record in records])
        assert all({*record} == {'id', 'text', 'label', 'probabilities'} for record in records)
    assert found[0] == found[1] == found[2] == found[3]


def test_tags_without_o_and_all_their_probabilities(tmp_path: pathlib.Path) -> None:
    bert = fine_tuned(tmp_path / 'model', ('tagger',), ('DET', 'NOUN'))
    (record,), odd = said(bert, tmp_path / 'a.jsonl', {'words': ['the', '\u200b', 'film']})
    assert record['tags'][1] == '_' and record['probabilities'][1] is None
    assert 'words that the tokenizer drops, tagged _ (first' in str(odd)
    (scored,) = predictions.records(bert, [tmp_path / 'a.jsonl'], all_scores=True)
    assert scored['tags'] == record['tags'] and scored['probabilities'][1] is None
    for i in (0, 2):
        shares = scored['probabilities'][i]
        assert [*shares] == ['DET', 'NOUN'] and sum(shares.values()) == pytest.approx(1)
        assert shares[record['tags'][i]] == pytest.approx(record['probabilities'][i])


def test_a_text_file_has_only_texts(tmp_path: pathlib.Path) -> None:
    with open_writer(tmp_path / 'a.txt', Summary()) as write:
        write({'target': 'un film\nbon'})
        with pytest.raises(ValueError, match='have more: label, probabilities; write'):
            write({'label': 'pos', 'probabilities': {}})
    assert (tmp_path / 'a.txt').read_text() == 'un film bon\n'
