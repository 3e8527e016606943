"""Files of texts: those of another format than their name says, and tables and lists."""

import pytest

from bert_jax.config import DataConfig
from bert_jax.data.labelled import examples, labels
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers
from bert_jax.inference import text_files

TABLE = 'text,label\nfine,pos\nbad,neg\n'
TAGS = 'Anna\tB-PER\nlives\tO\n\nHe\tO\nleft\tO\n'


def put(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.csv', '{"text": "a", "label": "b"}\n', 'looks like JSON objects, .*ends in .jsonl'),
        ('a.csv', '<!DOCTYPE html>\n<html>\n', 'looks like HTML'),
        ('a.csv', 'text;label\na;b\n', r"separated by ';': separate them by commas"),
        ('a.csv', '"text";"label"\n"a";"b"\n', "is not CSV .*by commas instead of ';', or put"),
        ('a.csv', 'text\tlabel\na\tb\n', r'separated by tabs: rename it to \.tsv'),
        ('a.tsv', 'text,label\na,b\n', r"separated by ',': rename it to \.csv"),
        ('a.jsonl', 'text,label\na,b\n', r'a table needs a name that ends in \.csv'),
        ('a.jsonl', '[{"text": "a"}]\n', r'a list of objects needs a name that ends in \.json'),
        ('a.jsonl', '{\n"text": "a"}\n', r'over several lines needs a name that ends in \.json'),
        ('a.jsonl', '{"text": "a", "text": "b"}\n', "has the key 'text' twice"),
        ('a.csv', TABLE + TABLE, r':4 repeats the names of the columns'),
        ('a.jsonl', r'{"text": "a", "label": "\ud83d"}', "half a surrogate pair in 'label'"),
    ],
)  # fmt: skip
def test_texts_of_another_format_are_named(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        list(examples.iter_file(put(tmp_path / name, content)))


def test_texts_of_json_lists_and_blank_ends_are_read(tmp_path):
    path = put(tmp_path / 'a.json', '[{"text": "a", "label": 1}, {"text": "b", "label": 0}]')
    assert [(e.text, e.label, e.where) for e in examples.iter_file(path)] == [
        ('a', '1', f'{path}: [0]'),
        ('b', '0', f'{path}: [1]'),
    ]
    twice = put(tmp_path / 'twice.csv', 'text,a,a,\nfine,1,2,\n')
    (example,) = examples.iter_file(twice, columns=True)
    assert example.columns == {'text': 'fine', 'a': '1', 'a_2': '2', '': ''}
    end = put(tmp_path / 'end.csv', 'text\nfine\nbad\n\n\n')
    assert [e.text for e in examples.iter_file(end)] == ['fine', 'bad']


@pytest.mark.parametrize(
    'content',
    [TABLE * 3, TAGS, '{"a": 1}\n' * 3, '<html>\n', '<a>\nb\nc\n<b>x</b>\n'],
)
def test_a_corpus_that_looks_like_something_else_is_counted(tmp_path, content):
    path, summary = put(tmp_path / 'a.txt', content), Summary()
    documents = list(readers.source(DataConfig(corpus=f'text:{path}')).read(summary))
    assert documents and 'text files that look like' in str(summary)
    with pytest.raises(ValueError, match='looks like'):
        list(text_files.read(path, DataConfig()))


def test_the_name_of_a_column_is_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt:1 is 'text', the name of a column"):
        list(text_files.read(put(tmp_path / 'a.txt', 'text\nfine\nbad\n'), DataConfig()))
    found = list(text_files.read(put(tmp_path / 'a.csv', 'text\nfine\nbad\n'), DataConfig()))
    assert [example.text for example in found] == ['fine', 'bad']


def test_a_column_that_is_not_one_of_labels(tmp_path):
    turned = 'text,label\npos,fine film\nneg,bad film\npos,good one\nneg,poor one\n'
    ids = 'text,label\n' + ''.join(f'text {i},{i}\n' for i in range(30))
    for content, message in ((turned, '4 different labels and 2 diff'), (ids, 'regression=true')):
        found = list(examples.iter_file(put(tmp_path / 'a.csv', content)))
        with pytest.raises(ValueError, match=message):
            labels.check_column(found, 'a.csv')
    labels.check_column(list(examples.iter_file(put(tmp_path / 'a.csv', TABLE))), 'a.csv')
