import gzip
import itertools
import json
import re

import numpy as np
import pytest

from bert_jax.data.labelled.examples import Example, iter_file
from bert_jax.data.labelled.labels import label_ids, label_names, label_values

CSV = 'text,label\nfine,1\n'


def put(path, content):
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == '.gz' else raw)
    return path


def read(path, content, **names):
    return list(iter_file(put(path, content), **names))


def labelled(*labels):
    return [Example('a', None, label, f'a.csv:{i}') for i, label in enumerate(labels, 2)]


@pytest.mark.parametrize('gz', ['', '.gz'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_csv_knows_quotes_and_counts_lines_of_the_file(tmp_path, gz, end):
    rows = [
        'label,text,other',
        'pos,"He said ""no"", twice",x',
        'neg,"two',
        'lines",y',
        '',
        'pos,é,',
    ]
    path = tmp_path / f'a.csv{gz}'
    assert read(path, end.join(rows)) == [
        Example('He said "no", twice', None, 'pos', f'{path}:2'),
        Example(f'two{end}lines', None, 'neg', f'{path}:3'),
        Example('é', None, 'pos', f'{path}:6'),
    ]


def test_tsv_takes_quotes_as_text(tmp_path):
    rows = ['text\ttext_b\tlabel', '"He said\t no" \t3.5', 'a\u2028b\rc\td"\t', '']
    path = tmp_path / 'a.tsv'
    assert read(path, '\ufeff' + '\r\n'.join(rows)) == [
        Example('"He said', 'no"', '3.5', f'{path}:2'),
        Example('a\u2028b\rc', 'd"', None, f'{path}:3'),
    ]


def test_jsonl_labels_are_strings_or_numbers(tmp_path):
    labels = ['good', 3, -1, 2.5, 1e-7, True, None, float('nan'), '', '  a b ']
    records = [{'text': 'a', 'label': label} for label in labels]
    records += [{'text': ' a\nb', 'text_b': 'c', 'more': []}, {'text': 'a', 'text_b': None}]
    path = tmp_path / 'a.jsonl'
    found = read(path, '\n\n'.join(map(json.dumps, records)))
    assert [e.label for e in found] == [
        *('good', '3', '-1', '2.5', '1e-07', 'true', None, None, None, 'a b', None, None)
    ]
    assert found[-2] == Example('a\nb', 'c', None, f'{path}:21')
    assert found[-1].text_b is None


def test_columns_can_have_other_names(tmp_path):
    names = {'text': 'premise', 'text_b': 'hypothesis', 'label': 'gold'}
    csv = 'text,gold,hypothesis,premise\nx,1,B,A\n'
    assert read(tmp_path / 'a.csv', csv, **names)[0][:3] == ('A', 'B', '1')
    json_line = '{"premise": "A", "hypothesis": "B", "gold": 1, "text": 3}'
    assert read(tmp_path / 'a.jsonl', json_line, **names)[0][:3] == ('A', 'B', '1')
    # without labels, as what is to be predicted
    assert read(tmp_path / 'a.csv', 'premise,hypothesis\nA,B', **names)[0][:3] == ('A', 'B', None)


MISTAKES = {
    'no column': ('a.csv', 'txt,label\na,1', r":1 has no column 'text', it has \['txt', 'label'\]"),
    'how to name it': (
        'a.tsv',
        'txt\tlabel\na\t1',
        r'with config.data.text_field',
    ),
    'columns twice': ('a.csv', 'text,text\na,b', r":1 has several columns 'text'"),
    'separated otherwise': ('a.csv', 'text;label\na;1', r"it has \['text;label'\]"),
    'no key': (
        'a.jsonl',
        '{"text": "a"}\n{"txt": "a"}',
        r":2 has no column 'text', it has \['txt'",
    ),
    'empty text': ('a.csv', CSV + '\n\n" ",1', r":5 has an empty text in 'text'"),
    'empty text of TSV': ('a.tsv', 'text\tlabel\n\t1', r":2 has an empty text in 'text'"),
    'the only column empty': ('a.tsv', 'text\na\n\nb', r":3 has an empty text in 'text'"),
    'empty text_b': ('a.csv', 'text,text_b\na,', r":2 has an empty text in 'text_b'"),
    'empty text of JSON': ('a.jsonl', '{"text": ""}', r":1 has an empty text in 'text'"),
    'columns too many': ('a.csv', CSV + 'one, two,1', r':3 has 3 columns; expected 2, .*text, lab'),
    'columns too few': ('a.tsv', 'text\tlabel\none 1', r':2 has 1 columns; expected 2'),
    'quote in the midst': ('a.csv', CSV + '"a"b,1', r':3 is not CSV .*; put double quotes'),
    'quote not closed': ('a.csv', CSV + 'b,1\n"a,1\nc,1\n', r':4 is not CSV \(unexpected end'),
    'JSON in a csv': ('a.csv', '[{"text":"a","label":"x"}]', r':1 is not CSV .* ends in \.jsonl'),
    'broken JSON': ('a.jsonl', '{"text": "a"}\n{"text"', r':2:8 is not JSON \(Expecting'),
    'too deep': ('a.jsonl', '[' * 100_000, r':1 is not JSON'),
    'no object': ('a.jsonl', '["text", "a"]', r':1 is \["text", "a"\]; expected an object'),
    'no string': ('a.jsonl', '{"text": 7}', r":1 has 7 in 'text'; expected a string"),
    'no string in text_b': ('a.jsonl', '{"text": "a", "text_b": {}}', r":1 has {} in 'text_b'"),
    'no label': (
        'a.jsonl',
        '{"text": "a", "label": [1]}',
        r":1 has \[1\] in 'label'; expected a st",
    ),
    'half a character': ('a.jsonl', r'{"text": "\ud83d"}', r':1 has half a surrogate pair'),
    'Latin-1': ('a.csv', CSV.encode() + b'caf\xe9,1', r':3 is not UTF-8 \(byte 0xe9\)'),
    'UTF-16': ('a.tsv', 'text\tlabel'.encode('utf-16'), r':1 is not UTF-8'),
    'Latin-1 of JSON': ('a.jsonl', b'{"text": "caf\xe9"}', r':1 is not UTF-8'),
    'nothing but names': ('a.csv', 'text,label\n', r'a\.csv has no examples'),
    'nothing': ('a.jsonl', '', r'a\.jsonl has no examples'),
    'no such kind': ('a.txt', 'a', r'a\.txt: expected a name that ends in \.csv, \.tsv, \.jsonl'),
}


@pytest.mark.parametrize('name, content, message', MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named_with_file_and_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name, content)
    assert str(tmp_path / name) in str(caught.value)


def test_a_second_text_that_was_named_has_to_be_there(tmp_path):
    with pytest.raises(ValueError, match=r":1 has no column 'hypothesis'"):
        read(tmp_path / 'a.csv', CSV, text_b='hypothesis')
    with pytest.raises(ValueError, match=r":1 has no column 'hypothesis'"):
        read(tmp_path / 'a.jsonl', '{"text": "a"}', text_b='hypothesis')


def test_files_that_can_not_be_read(tmp_path):
    with pytest.raises(ValueError, match=r'gone\.csv cannot be read \(No such file'):
        list(iter_file(tmp_path / 'gone.csv'))
    (tmp_path / 'a.csv').mkdir()
    with pytest.raises(ValueError, match=r'a\.csv cannot be read \(Is a directory'):
        list(iter_file(tmp_path / 'a.csv'))
    content = gzip.compress(b'text\n' + b'\n'.join(b'%d' % (i * i) for i in range(9999)))
    (tmp_path / 'a.tsv.gz').write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r'a\.tsv\.gz is damaged after line \d{3}'):
        list(iter_file(tmp_path / 'a.tsv.gz'))
    (tmp_path / 'b.tsv.gz').write_bytes(b'text\nhello\n')
    with pytest.raises(ValueError, match=r'b\.tsv\.gz is not compressed, and its'):
        list(iter_file(tmp_path / 'b.tsv.gz'))


def test_a_long_text_is_no_mistake_in_csv(tmp_path):
    text = 'word ' * 50_000
    assert read(tmp_path / 'a.csv', f'text\n{text}\n')[0].text == text.strip()


@pytest.mark.parametrize('name', ['a.csv', 'a.tsv', 'a.jsonl'])
def test_reading_goes_a_line_at_a_time(tmp_path, name):
    record = '{"text": "a"}' if name == 'a.jsonl' else 'a'
    path = put(tmp_path / name, 'text\n' * (name != 'a.jsonl') + f'{record}\n' * 9 + '{\t')
    assert len(list(itertools.islice(iter_file(path), 9))) == 9  # the tenth would be an error
    if name != 'a.csv':
        with pytest.raises(ValueError, match=r':1[01]\b'):
            list(iter_file(path))


def test_labels_are_sorted_by_value_where_all_are_whole_numbers():
    assert label_names(labelled('10', '9', '-1', '9', '+3')) == ['-1', '+3', '9', '10']
    assert label_names(labelled('10', '9', 'x')) == ['10', '9', 'x']
    assert label_names(labelled('10', '9.5')) == ['10', '9.5']
    assert label_names(labelled('1.0', '0.0', '1.0')) == ['0.0', '1.0']
    assert label_names(labelled('01', '1')) == ['01', '1'], 'codes, not numbers'
    for one, other in (('1', '1.0'), ('1.00', '1.0'), ('+1', '1')):
        with pytest.raises(
            ValueError,
            match=rf"csv:3 has the label '{re.escape(other)}', and .* '{re.escape(one)}'",
        ):
            label_names(labelled(one, other))
    with pytest.raises(ValueError, match=r'a\.csv:3 has no label'):
        label_names(labelled('1', None))


def test_label_ids():
    ids = label_ids(labelled('b', 'a', 'b'), ['a', 'b'])
    assert ids.dtype == np.int32 and ids.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"a\.csv:3 has the label 'c'; expected .*: 'a', 'b'$"):
        label_ids(labelled('b', 'c'), ['a', 'b'])
    with pytest.raises(ValueError, match=r"'19', \.\.\.$"):
        label_ids(labelled('x'), [str(i) for i in range(1000)])
    with pytest.raises(ValueError, match=r'a\.csv:2 has no label'):
        label_ids(labelled(None), ['a', 'b'])


def test_label_values():
    values = label_values(labelled('3.800', '-1', '1e3'))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.array([3.8, -1, 1000], np.float32))
    for label in ('nan', 'inf', '1e39', 'good', '1_000', '3,8'):
        with pytest.raises(ValueError, match=rf"a\.csv:3 has the label '{label}'; expected a fin"):
            label_values(labelled('1', label))
    with pytest.raises(ValueError, match=r'a\.csv:2 has no label'):
        label_values(labelled(None))
