"""Files of another kind than their name or their task says: refused by what they are, or read."""

import gzip
import json
import random

import pytest

from bert_jax.config import DataConfig
from bert_jax.data import files
from bert_jax.data.labelled import (
    conll,
    examples,
    labels,
    squad,
)
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers
from bert_jax.inference import text_files

TABLE = 'text,label\nfine,pos\nbad,neg\n'
TRAINED = {
    '{"words": ["Anna"], "tags": ["O"]}\n{"words": ["He"], "tags": ["O"]}\n': 'JSON objects, one',
    '[\n{"words": ["Anna"], "tags": ["O"]}\n]\n': 'looks like JSON; .* ends in .json',
    'B-PER Anna\nO lives\nB-LOC Berlin\n\nO He\nO left\n': r'first column has tags \(B-PER, O, B-L',
    'DET The\nNOUN mill\nDET the\n\nPRON He\nVERB left\nDET the\nNOUN city\n': 'first column looks',
    'the cat sat\na dog ran\n': r'looks like words and not like tags',
    'He left\nShe ran\nWe sat\n': r'looks like words and not like tags',
    'Anna B-PER 0.98\nlives O 0.99\n': r'column 2 marks entities \(B-PER\), but the last .*0\.98',
    'Anna NNP B-PER _\nlives VB O _\n': r'column 3 marks entities \(B-PER\), but the last',
    'Anna B - PER\nlives O - -\nthe O - -\n': r'column 2 has marks \(B, O\) without types',
    'Anna 0 4\nlives 5 10\n\nHe 0 2\n': r'numbers \(4, 10, 2\) and not tags',
    'Anna 0.5\nlives 0.7\n': r'numbers \(0.5, 0.7\) and not tags',
    '| Anna | B-PER |\n| lives | O |\n': 'looks like a Markdown table',
    '<w id="1">Anna</w>\n<w id="2">lives</w>\n': 'looks like XML',
    '<!DOCTYPE html>\n<p class="a">Anna</p>\n': 'looks like HTML',
    '1\tAnna\tPROPN\t_\n2\tlives\tVERB\t_\n': 'the first column numbers the words',
    '1-2\tAnnas\tX\t_\n1\tAnna\tX\t_\n2\ts\tX\t_\n': 'the first column numbers the words',
    '0 Anna B-PER\n1 lives O\n\n0 He O\n1 left O\n': 'the first column numbers the words',
    '1 O\n2 O\n3 B-x\n': 'all words are numbers',
    'Anna ? _\nlives x _\nhere y _\n': "the last column is '_' everywhere",
    'Anna,B-PER\nlives,O\n\nHe,O\n': r"separated by ','; save the file as .csv",
}
TRAINED |= {
    'Anna lives\tB-PER O\nin Berlin\tO B-LOC\n': 'looks like a sentence and its tags',
    'a1 Anna B-x\na1 lives O\na1 in O\n\na2 He O\na2 left O\n': 'the same value in many lines',
}
PREDICTED = {
    'Anna/NNP\nlives/VBZ\n': r'words and tags are joined \(Anna/NNP, lives/VBZ\)',
    'Anna_B-PER\nlives_O\n': 'words and tags are joined',
    'Anna lives in Berlin\nHe left the city\n': r"look like text \('Anna lives in Berlin'\)",
    'He left\nShe ran\n': 'look like text',
    'the good film 1\nthe bad film 2\n' * 9: 'the same value in many lines',
    'a good film 1\nthe bad film 2\n' * 9: 'look like text',
    '私は東京に住んでいます。\n今日は来ません。\n': 'look like text',
    'ACGTACGTACGTACGTACGTACGTACGT\n' * 3: 'look like text',
    'Anna,NNP\nlives,VB\n': r"separated by ','",
    '0 Anna\n1 lives\n': 'all words are numbers',
    'T1\tPER 0 4\tAnna\nT2\tLOC 14 20\tBerlin\n': r'first column has no words \(T1, T2\)',
    '2024-01-01 INFO Anna\n2024-01-02 INFO left\n': 'first column has no words',
    'B-PER Anna\nO lives\n': 'the first column has tags',
    '{"words": ["Anna"]}\n': 'looks like JSON objects',
}
# Tags in other forms, and what they are read as.
FORMS = {
    'Anna b-per\nlives o\n': (['B-PER', 'O'], "tags such as 'b-per', read as 'B-PER'"),
    'Anna b\nlives o\n': (['B', 'O'], "tags such as 'b', read as 'B'"),
    'Anna B_PER\nlives O\n': (['B-PER', 'O'], "tags such as 'B_PER', read as 'B-PER'"),
    'Anna PER-B\nlives O\n': (['B-PER', 'O'], "tags such as 'PER-B', read as 'B-PER'"),
    'word\tpos\nAnna\tN\nlives\tV\n': (['N', 'V'], 'lines with names of columns, left out'),
    'id word tag\n1 Anna B-x\n2 lives O\n': (['B-x', 'O'], 'lines with names of columns, left out'),
    '#begin document (a); part 0\nAnna B-x\nlives O\n': (['B-x', 'O'], 'comment lines, left out'),
    '-DOCSTART-(1) O\n\nAnna B-x\nlives O\n': (['B-x', 'O'], '-DOCSTART- lines, left out'),
    '--docstart-- O\n\nAnna B-x\nlives O\n': (['B-x', 'O'], '-DOCSTART- lines, left out'),
}
BINARY = {
    'a PDF': b'%PDF-1.7\n%\xe2\xe3',
    'a Word document': b'PK\x03\x04\x14\0\0\0word/document.xml',
    'an Excel workbook': b'PK\x03\x04\x14\0\0\0xl/workbook.xml',
    'a zip archive': b'PK\x03\x04\x14\0\0\0a.csv',
    'a Parquet file': b'PAR1\x15\x04\x15',
    'a PNG image': b'\x89PNG\r\n\x1a\n',
    'a JPEG image': b'\xff\xd8\xff\xe0\0\x10JFIF',
    'a safetensors file': b'\x10\0\0\0\0\0\0\0{"__metadata__":{}}',
    'a Python pickle': b'\x80\x04\x95\x10\0',
    'a NumPy array': b'\x93NUMPY\x01\0v\0',
    'a Git LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
    'compressed; give it a name that ends in .gz': gzip.compress(TABLE.encode()),
    'not UTF-8, it is UTF-16': TABLE.encode('utf-16'),
    'not UTF-8, it is UTF-16 or binary': bytes(99) + TABLE.encode(),
    'not UTF-8, it is UTF-16 without .* .utf-16-le': TABLE.encode('utf-16-le'),
    'not UTF-8, it is UTF-16 without .* .utf-16-be': 'вода и лес\n'.encode('utf-16-be'),
    'not UTF-8, it is UTF-32': TABLE.encode('utf-32'),
    'not UTF-8, it is UTF-32 without': TABLE.encode('utf-32-be'),
    'not UTF-8, it is iso2022_jp': '水火木金土日月山川田人口'.encode('iso2022_jp'),
    'not UTF-8, it is hz': '水火木金土日月山川田人口\n'.encode('hz'),
    'not UTF-8, it is utf_7': '水火木金土日月山川田人口\n'.encode('utf-7'),
    'not text': bytes(range(1, 32)) * 9,
    'not text: .* of its first 3000 bytes': random.Random(0).randbytes(3000),
    'a 7z archive': b"7z\xbc\xaf'\x1c\x00\x04",
    'a RAR archive': b'Rar!\x1a\x07\x01\x00',
    'compressed by lz4': b'\x04"M\x18\x64\x40',
    'an Arrow file': b'\xff\xff\xff\xff\x78\x00\x00\x00',
    'a pointer of git-annex': b'/annex/objects/SHA256E-s1--0.txt\n',
    'a tar archive': b'a.csv'.ljust(257, b'\0') + b'ustar\x0000',
}


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(('content', 'message'), TRAINED.items())
def test_what_is_no_word_with_its_tag_is_not_trained_on(tmp_path, content, message):
    for name in ('a.conll', 'a.txt'):
        with pytest.raises(ValueError, match=rf'{name}:1:? .*{message}'):
            conll.read(put(tmp_path / name, content))


@pytest.mark.parametrize(('content', 'message'), PREDICTED.items())
def test_what_is_no_word_is_not_tagged(tmp_path, content, message):
    errors = []
    with pytest.raises(ValueError, match=rf'a\.txt:1:? .*{message}'):
        list(
            conll.iter_file(put(tmp_path / 'a.txt', content), tagged=False, on_error=errors.append)
        )
    assert not errors, 'the file is wrong as a whole'


@pytest.mark.parametrize(('content', 'expected'), FORMS.items())
def test_other_forms_are_read_and_counted(tmp_path, content, expected):
    summary = Summary()
    (sentence,) = conll.read(put(tmp_path / 'a.conll', content), summary=summary)
    assert (sentence.words, sentence.tags) == (['Anna', 'lives'], expected[0])
    assert expected[1] in str(summary)
    put(tmp_path / 'a.conll', content)
    (sentence,) = conll.iter_file(tmp_path / 'a.conll', tagged=False)
    assert sentence.words == ['Anna', 'lives'], 'prediction reads the same words'


ROWS = [(['Anna', 'lives'], ['B-PER', 'O']), (['He'], ['O'])]
OBJECTS = [{'tokens': w, 'ner_tags': t, 'id': i} for i, (w, t) in enumerate(ROWS)]
WORDS_AND_TAGS = {
    'a.jsonl': '\n'.join(map(json.dumps, OBJECTS)),
    'a.json': json.dumps(OBJECTS, indent=1),
    'b.json': json.dumps({'data': OBJECTS}),
    'c.json': '\n'.join(map(json.dumps, OBJECTS)),
    'a.csv': 'words,tags\nAnna lives,B-PER O\nHe,O\n',
    'b.csv': """tokens,ner_tags
"['Anna', 'lives']","['B-PER', 'O']"
"[""He""]","[""O""]"
""",
    'c.csv': 'Sentence #,Word,POS,Tag\nS1,Anna,N,B-PER\n,lives,V,O\nS2,He,P,O\n',
    'd.csv': 'word,tag\nAnna,B-PER\nlives,O\n\nHe,O\n',
    'e.csv': 'sentence,word_labels\nAnna lives,B-PER O\nHe,O\n',
    # This is how pandas writes NumPy arrays.
    'f.csv': "tokens,ner_tags\n['Anna' 'lives'],['B-PER' 'O']\n['He'],['O']\n",
    'a.tsv': 'word\ttag\nAnna\tB-PER\nlives\tO\n\nHe\tO\n',
    'a.CONLL': 'Anna B-PER\nlives O\n\nHe O\n',
    'b.txt': 'Anna\tB-PER\nlives\tO\n\nHe\tO\n',
}


def test_words_and_tags_in_every_format(tmp_path):
    for name, content in WORDS_AND_TAGS.items():
        path = put(tmp_path / name, content)
        summary = Summary()
        assert [(s.words, s.tags) for s in conll.read(path, summary=summary)] == ROWS, name
        assert [s.words for s in conll.iter_file(path, tagged=False)] == [w for w, _ in ROWS], name
        assert not summary.counts and 'tag' in summary.columns[str(path)], name
    raw = put(tmp_path / 'raw.jsonl', '{"text": "Anna lives."}\n{"text": "He left"}\n')
    found = [s.words for s in conll.iter_file(raw, tagged=False)]
    assert found == [['Anna', 'lives', '.'], ['He', 'left']]
    with pytest.raises(ValueError, match=r"raw\.jsonl:1 has no column 'words'"):
        conll.read(raw)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.jsonl', '{"tokens": ["Anna"], "ner_tags": [1]}', r'\(1\) .*_names=O.*feature\.n'),
        ('a.jsonl', '{"tokens": ["Anna"], "ner_tags": ["1"]}', r'numbers \(1\) instead of tags'),
        ('a.csv', 'tokens,ner_tags\nAnna lives,3 0\n', r'a.csv:2 has numbers \(0, 3\)'),
        ('a.csv', "tokens,ner_tags\n['Anna' 'lives'],[3 0]\n", r'has numbers \(0, 3\) instead'),
        ('a.csv', "tokens,ner_tags\n['Anna' ... 'x'],a\n", 'which is not a complete list'),
        ('a.csv', 'text,label\nAnna lives,pos\n', r"'label' has \"pos\"; expected a list of"),
        ('a.csv', 'words,tags\nAnna lives,O\n', "2 'words' and 1 'tags'"),
        ('a.csv', 'words,tags\nAnna,O\nwords,tags\n', ':3 repeats the names of the columns'),
        ('a.csv', 'word,tag\nAnna,O\nlives,\n', ":3 has an empty cell in 'tag'"),
        ('a.csv', 'name,kind\nAnna,O\n', "no column 'words'.*expected 'words' and 'tags'"),
        ('a.csv', 'word;tag\nAnna;O\n', "no column 'words'.*separated by ';': separate them by"),
        ('a.txt', 'Anna\tB-x\nlives\t\n', ":2 has a word without a tag, 'lives'.*O or _ in an em"),
    ],
)  # fmt: skip
def test_words_without_tags_are_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        conll.read(put(tmp_path / name, content))


READERS = {
    'a.csv': lambda path: list(examples.iter_file(path)),
    'a.jsonl': lambda path: list(examples.iter_file(path)),
    'a.conll': conll.read,
    'a.json': squad.read,
    'a.txt': lambda path: list(text_files.read(path, DataConfig())),
    'b.txt': lambda path: list(readers.source(DataConfig(corpus=f'text:{path}')).read(Summary())),
}


@pytest.mark.parametrize('what', BINARY)
def test_what_is_not_text_is_named_by_every_reader(tmp_path, what):
    content = BINARY[what]
    for name, read in READERS.items():
        with pytest.raises(ValueError, match=rf'{name}:1 is {what}'):
            read(put(tmp_path / name, content))


def test_the_suffix_of_a_packed_file_has_to_be_right(tmp_path):
    path = put(tmp_path / 'a.csv.zst', gzip.compress(TABLE.encode()))
    with pytest.raises(ValueError, match=r'a\.csv\.zst ends in \.zst, but its content is \.gz'):
        list(files.lines(path))
    assert len(list(examples.iter_file(put(tmp_path / 'A.CSV.GZ', path.read_bytes())))) == 2


ALIKE = ['Pos', 'pos', 'True', 'true', 'caf\xe9', 'cafe\u0301', 'x', 'x\u200b', 'a b', 'a_b']
ALIKE += ['\uff21', 'A', '07', '7', 'no', '0', '"q"', 'q', 'c', 'd', '-7']


def test_labels_that_may_mean_the_same():
    expected = [tuple(ALIKE[i : i + 2]) for i in range(0, 18, 2)]
    assert labels.alike(ALIKE) == expected
    doubts = labels.doubts(['NA', '_', 'a', 'a|b', 'c;d'], multi_label=False)
    assert doubts == [
        "labels that look like missing values: 'NA'",
        "labels that look like missing values: '_'",
        "labels that look like several labels: 'a|b' (config.data.multi_label)",
    ]
    assert "'c;d' (config.data.label_separator)" in labels.doubts(['c;d'], multi_label=True)[0]
