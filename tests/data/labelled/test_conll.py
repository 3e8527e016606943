import gzip
import json

import pytest

from bert_jax.data.labelled import conll, tagged_records
from bert_jax.data.labelled.tags import label_names, scheme
from bert_jax.data.summary import Summary
from bert_jax.finetuning.official_scores import entities, spans

ENTITIES = {'train': (3394, 1975), 'dev': (1009, 836), 'test': (1287, 1079)}  # as published


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, content, **options):
    return conll.read(put(tmp_path / 'a.conll', content), **options)


def pairs(sentences):
    return [list(zip(s.words, s.tags, strict=True)) for s in sentences]


def test_sentences_end_at_lines_of_nothing_but_space(tmp_path):
    content = '\ufeffJohn\tB-PER\nran\tO\n\t\nHe\tO\r\n  \r\n\n\nwon\tO'
    sentences = read(tmp_path, content)
    assert pairs(sentences) == [[('John', 'B-PER'), ('ran', 'O')], [('He', 'O')], [('won', 'O')]]
    assert [s.where for s in sentences] == [f'{tmp_path}/a.conll:{n}' for n in (1, 4, 8)]
    path = put(tmp_path / 'b.conll.gz', gzip.compress(content.encode()))
    assert pairs(conll.read(path)) == pairs(sentences)


def test_the_word_is_first_and_the_tag_last(tmp_path):
    content = (
        '-DOCSTART- -X- -X- O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n'
        '-DOCSTART-\nNo \t DT  I-NP O \n'
    )
    summary = Summary()
    sentences = read(tmp_path, content, summary=summary)
    assert pairs(sentences) == [[('EU', 'B-ORG'), ('rejects', 'O')], [('No', 'O')]]
    skipped = f'-DOCSTART- lines, left out (first: {tmp_path}/a.conll:1)'
    assert summary.lines() == {skipped: 2}


def test_comments_are_no_words_and_hashes_are_no_comments(tmp_path):
    content = (
        '# id = 1\n# text = a b O\n#\tO\n#tag\tB-x\n\n# O\n#other\tO\n\n# \tO\na\tI-x\n# \tO\n'
    )
    summary = Summary()
    sentences = read(tmp_path, content, summary=summary)
    assert pairs(sentences) == [
        [('#', 'O'), ('#tag', 'B-x')],
        [('#', 'O'), ('#other', 'O')],
        [('#', 'O'), ('a', 'I-x'), ('#', 'O')],
    ]
    assert summary.counts['comment lines, left out'] == 2
    words = read(tmp_path, '# text = #\n#\n#tag\n\n# two words\nx\n', tagged=False)
    assert [s.words for s in words] == [['#', '#tag'], ['x']]


def test_jsonl(tmp_path):
    path = tmp_path / 'a.jsonl'
    records = [
        {'words': ['Anna', 'New York'], 'tags': ['B-x', 'I-x']},
        {'words': ['b'], 'tags': ['I-y']},
    ]
    put(path, '\n\n'.join(map(json.dumps, records)))
    summary = Summary()
    expected = [
        conll.Sentence(*record.values(), f'{path}:{i}')
        for record, i in zip(records, (1, 3), strict=True)
    ]
    assert conll.read(path, summary=summary) == expected
    name = f'{tagged_records.SPACED} (first: {path}:1)'
    assert summary.lines() == {name: 1, 'ill-formed BIO tags, read as conlleval does': 1}
    assert [s.tags for s in conll.read(path, tagged=False)] == [None, None]
    put(path, '{"words": ["a"]}')
    assert [s.tags for s in conll.read(path, tagged=None)] == [None]


@pytest.mark.parametrize(
    'line, message',
    {
        '{"words": ["a"]}': r"a\.jsonl:1 has no column 'tags', it has \['words'\]",
        '{"words": ["a", "b"], "tags": ["O"]}': r"a\.jsonl:1 has 2 'words' and 1 'tags'",
        '{"words": ["a", ""], "tags": ["O", "O"]}': r"a\.jsonl:1 has an empty string in 'words'",
        '{"words": ["a", "b"], "tags": [3, "O"]}': r"a\.jsonl:1 has 3 in 'tags'; expected a s",
        '{"words": ["a", "b"], "tags": ["B-x", "I"]}': r"a\.jsonl:1 has the tag 'I', but other",
        '': r'a\.jsonl has no sentence',
    }.items(),
)
def test_bad_lines_of_jsonl(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        conll.read(put(tmp_path / 'a.jsonl', line))


def test_a_file_of_json_is_no_conll(tmp_path):
    with pytest.raises(
        ValueError, match=r"a\.json has no column 'words', it has \['data', 'x'\]; expected"
    ):
        conll.read(put(tmp_path / 'a.json', '{"data": 1, "x": 2}'))


def test_words_alone_are_read_where_no_tags_are_needed(tmp_path):
    assert [(s.words, s.tags) for s in read(tmp_path, 'a\nb\n\nc', tagged=False)] == [
        (['a', 'b'], None),
        (['c'], None),
    ]
    (sentence,) = read(tmp_path, 'a\tB-x\nb\t?', tagged=False)
    assert (sentence.words, sentence.tags) == (['a', 'b'], None)


def test_strange_characters_stay_words(tmp_path):
    words = ['\u200b', '\x07', '\xa0', '\ufe0f', 'a\u2028b', '\x85', '\x1c', '\x0b', 'x\ry']
    content = ''.join(f'{word}\tO\n' for word in words)
    assert [s.words for s in read(tmp_path, content)] == [words]
    assert [s.words for s in read(tmp_path, '\n'.join(words), tagged=False)] == [words]


@pytest.mark.parametrize(
    'content, message',
    {
        'a O\nb X O': r"a\.conll:2 has 3 columns, 'b X O', but the lines before it have 2",
        'a X O\n\nb O': r'a\.conll:3 has 2 columns.* have 3; expected a line for each word',
        'a\tO\nb\t\n': r"a\.conll:2 has a word without a tag, 'b'; expected",
        '\tO\n': r"a\.conll:1 has a word without a tag, 'O'",
        'a\nb\n': r"a\.conll:1 has a word without a tag, 'a'",
        'a\tO\n# O x\n': r'a\.conll:2 has 3 columns',
        b'a\tO\n\ncaf\xe9\tO\n': r'a\.conll:3 is not UTF-8 .*0xe9\); convert',
        '': r'a\.conll has no sentence; expected',
        '\n \n-DOCSTART- O\n\n': r'a\.conll has no sentence',
        'a\tB-x\nb\t0\n': r"a\.conll:2 has the tag '0', but other tags have the form B-TYPE",
        'a\tO\nb\tB-x\nc\tI-\n': r"a\.conll:3 has the tag 'I-'",
        'a\tB-x\nb\tI\n': r"a\.conll:2 has the tag 'I'",
        'a\tB-x\nb\tE-x\nc\tL-x\n': r'mixes .* \(E- in .*a\.conll:2, L- in .*:3\); use one',
        '1\tNo\tO\n2\tone\tO\n\n1\tA\tO\n': r'a\.conll:1: the first column numbers the words',
    }.items(),
)
def test_bad_files_are_named_with_the_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_files_that_are_not_there_or_damaged_are_named(tmp_path):
    with pytest.raises(ValueError, match=r'b\.conll cannot be read'):
        conll.read(tmp_path / 'b.conll')
    path = put(tmp_path / 'b.conll.gz', gzip.compress(b'a\tO\n' * 999)[:-9])
    with pytest.raises(ValueError, match=r'b\.conll\.gz is damaged'):
        conll.read(path)
    with pytest.raises(ValueError, match=r'b\.conll\.gz is not compressed'):
        conll.read(put(path, b'a\tO\n'))


@pytest.mark.parametrize(
    'name, ill_formed, tags',
    [
        ('BIO', 0, 'O B-x I-x B-x O; B-y'),
        ('BIO', 0, 'O O'),
        ('BIO', 3, 'O I-x I-x O; B-y I-x; I-y B-y'),
        ('BIO', 0, 'B I O B B'),
        ('IOB1', 0, 'O I-x I-x B-x I-x I-y; I-x'),
        ('IOB1', 0, 'O I-x; I-x'),
        ('IOBES', 0, 'S-x B-x I-x E-x O; B-y E-y'),
        ('IOBES', 4, 'S-x I-x E-x; O B-x O; B-y; B-x E-y'),
        ('BILOU', 0, 'U-x B-x I-x L-x O; B-y L-y'),
        ('BILOU', 2, 'B-x U-x; L-x'),
        ('plain', 0, 'DT NN; -LRB- O'),
        ('plain', 0, 'N V I'),
    ],
)
def test_schemes_are_recognised(tmp_path, name, ill_formed, tags):
    sentences = [sentence.split() for sentence in tags.split(';')]
    assert scheme(sentences) == (name, ill_formed)
    content = '\n'.join(''.join(f'w {tag}\n' for tag in sentence) for sentence in sentences)
    summary = Summary()
    assert [s.tags for s in read(tmp_path, content, summary=summary)] == sentences
    counts = {f'ill-formed {name} tags, read as conlleval does': ill_formed} if ill_formed else {}
    assert summary.lines() == counts


def test_label_names_begin_with_o(tmp_path):
    sentences = read(tmp_path, 'a\tI-x\nb\tB-y\nc\tB-x\n\nd\tI-x')
    assert label_names(sentences) == ['O', 'B-x', 'B-y', 'I-x']
    assert label_names(read(tmp_path, 'a NN\nb DT')) == ['DT', 'NN']


def test_what_is_written_is_read_back(tmp_path):
    content = '#\tO\n# \tB-x\n\u200b\tI-x\n\n-\tO\n#x\tO\n\né\u2028\tO\n'
    sentences = read(tmp_path, content)
    path = tmp_path / 'out.conll'
    conll.write(sentences, [['B-x', 'O', 'I-x'], ['O', 'O'], ['B-y']], path)
    again = conll.read(path)
    assert [s.words for s in again] == [s.words for s in sentences]
    assert [s.tags for s in again] == [['B-x', 'O', 'I-x'], ['O', 'O'], ['B-y']]
    for tags in ([['O']], [['O'], ['O', 'O'], ['O']]):
        with pytest.raises(ValueError, match=r'shorter|longer'):
            conll.write(sentences, tags, path)


@pytest.mark.parametrize(
    'split', [pytest.param(x, marks=[pytest.mark.slow] * (x == 'train')) for x in ENTITIES]
)
def test_wnut17_is_read_whole(shared_data, tmp_path, split):
    path = shared_data(f'ner/wnut17/{split}.conll')
    summary = Summary()
    sentences = conll.read(path, summary=summary)
    lines = path.read_text('utf-8').split('\n')
    found = [(word, tag) for s in pairs(sentences) for word, tag in s]
    assert found == [tuple(line.split('\t')) for line in lines if line.strip()]
    tags = [s.tags for s in sentences]
    assert (len(sentences), sum(map(len, map(spans, tags)))) == ENTITIES[split]
    assert scheme(tags) == ('BIO', 0) and not summary.lines()
    assert len(label_names(sentences)) == 13
    assert entities(tags, tags)['f1'] == 1
    conll.write(sentences, tags, tmp_path / 'copy')
    assert pairs(conll.read(tmp_path / 'copy')) == pairs(sentences)
