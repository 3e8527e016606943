"""Byte-level BPE: the ids of RoBERTa, words, masks, and what is refused."""

import json

import numpy as np
import pytest
from small_run import QUICK
from tokenizer_texts import odd_texts, squad_questions, wikipedia_leads

from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.specials import Specials

IDS = {
    'Hello world!': [31414, 232, 328],
    'Hello world! cécé herlolip 418': ([31414, 232, 328, 740, 1140, 12695, 69, 46078, 1588, 42928]),
    ' world': [232],
    'world': [8331],
}


@pytest.fixture(scope='module')
def roberta(shared_data):
    return tokenizer.load(shared_data('vocab/roberta-base'), lowercase=False)


@pytest.fixture(scope='module')
def trained():
    return tokenizer.train(
        ['the quick brown foxes, and the lazy dogs'] * 20, 400, False, 'byte_bpe'
    )


def test_known_ids(roberta):
    assert roberta.specials == Specials(pad=1, unk=3, cls=0, sep=2, mask=50264, bos=0, eos=2)
    assert roberta.encode_batch(list(IDS)) == list(IDS.values())
    for text, ids in IDS.items():
        assert roberta.decode(ids) == text


@pytest.mark.slow
def test_ids_are_those_of_transformers(roberta, shared_data):
    transformers = pytest.importorskip('transformers')
    theirs = transformers.RobertaTokenizer.from_pretrained(str(shared_data('vocab/roberta-base')))
    texts = [*squad_questions(shared_data), *odd_texts(10_000), *wikipedia_leads(shared_data, 1000)]
    expected = theirs(texts, add_special_tokens=False)['input_ids']
    assert len(texts) > (20_000 if QUICK else 100_000)
    assert roberta.encode_batch(texts) == expected


def test_places_in_the_text(roberta, shared_data):
    texts = [*odd_texts(500), *wikipedia_leads(shared_data, 200), 'Two  spaces, 東京 é']
    for text, (ids, spans) in zip(texts, roberta.encode_offsets(texts), strict=True):
        assert [ids] == roberta.encode_batch([text])
        assert spans == sorted(spans)
        covered = {i for start, end in spans for i in range(start, end)}
        missing = ''.join(char for i, char in enumerate(text) if i not in covered)
        assert not missing.strip(), (text, missing)
        assert all(text[start:end] == text[start:end].strip() for start, end in spans)


def test_starts_of_words(roberta):
    text = "It's naïve: foxes, dogs"
    [ids] = roberta.encode_batch([text])
    starts = np.flatnonzero(roberta.word_starts(np.array(ids)))
    words = [roberta.decode(part).strip() for part in np.split(ids, starts[1:])]
    assert words == ["It's", 'naïve', ':', 'foxes', ',', 'dogs']


def test_a_word_of_a_list_is_a_word_inside_a_text(roberta):
    assert roberta.encode_words(['world', 'Hello']) == roberta.encode_batch([' world', ' Hello'])


def test_readable_tokens(roberta):
    ids = [*roberta.encode_batch([' café'])[0], roberta.specials.mask]
    assert [roberta.readable(i) for i in ids] == [' café', '<mask>']
    assert roberta.pieces[ids[0]] == 'ĠcafÃ©'


def test_the_space_before_a_mask_belongs_to_it(roberta):
    before, after = roberta.mask_pattern.split('Paris is the <mask> of France')
    assert (before, after) == ('Paris is the', ' of France')
    assert roberta.mask_pattern.split('a [MASK]') == ['a', '']
    # The ids of transformers with RoBERTa's own tokenizer_config.json.
    assert roberta.encode_batch([before, after]) == [[32826, 16, 5], [9, 1470]]


def test_training(trained, tmp_path):
    assert trained.pieces[:4] == ['<s>', '<pad>', '</s>', '<unk>']
    assert trained.pieces[-1] == '<mask>' and trained.specials.mask == trained.vocab_size - 1
    assert {'Ġthe', 'Ġquick'} <= set(trained.pieces)
    text = 'Ünknown 東 \x00 <mask>'
    [ids] = trained.encode_batch([text])
    assert trained.decode(ids) == text  # every byte is a token, and a typed mask is text
    assert not set(ids) & set(trained.specials.all())
    trained.save(tmp_path)
    loaded = tokenizer.load(tmp_path, lowercase=True)  # its files contain that it is cased
    assert loaded.files == trained.files and not loaded.lowercase
    assert loaded.encode_batch([text]) == [ids]
    for name in ('vocab.json', 'merges.txt', 'vocabulary.json'):
        assert tokenizer.load(tmp_path / name).pieces == trained.pieces


def test_a_lowercased_vocabulary(tmp_path):
    lower = tokenizer.train(['The Quick Brown Fox'] * 20, 400, True, 'byte_bpe')
    assert lower.encode_batch(['THE FOX']) == lower.encode_batch(['the fox'])
    lower.save(tmp_path)
    assert tokenizer.load(tmp_path, lowercase=False).lowercase
    assert not lower.case_warning()
    small = tokenizer.train(['small letters'] * 9, 300, False, 'byte_bpe')
    assert not small.capitalized and not small.case_warning(), 'bytes write capital letters'


def test_the_case_of_a_vocabulary(roberta, shared_data):
    assert not roberta.case_warning()
    uncased = tokenizer.load(shared_data('vocab/roberta-base'), lowercase=True)
    assert 'have capital letters and are never used' in uncased.case_warning()


def files(folder, **changes):
    contents = {
        'vocab.json': json.dumps(
            {'<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, '<mask>': 4, 'a': 5}
        ),
        'merges.txt': '#version: 0.2\n',
    }
    for name, content in (contents | changes).items():
        if content is not None:
            (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'merges.txt': None}, r'has no merges.txt; a BPE vocabulary is vocab.json \+ merges.txt'),
        ({'merges.txt': '#version\na\n'}, r"merges.txt: line 2 is 'a', expected two tokens"),
        ({'merges.txt': 'a b\n'}, 'merges.txt does not fit vocab.json'),
        ({'vocab.json': '[1]'}, 'vocab.json is not a vocabulary'),
        ({'vocab.json': '{"a": 1}'}, "the token 'a' has the id 1, expected 0"),
        ({'vocab.json': '{"a": 0}'}, r'has no \[PAD\] or <pad>'),
        ({'vocab.json': '{"a</w>": 0}'}, 'nothing in the folder says which .*bert_jax.convert'),
        ({'vocabulary.json': '{}'}, 'vocabulary.json does not describe a vocabulary'),
        ({'vocabulary.json': '{"kind": "x"}'}, "kind is 'x', expected one of wordpiece"),
        ({'vocabulary.json': '{"kind": "byte_bpe", "y": 1}'}, "has a wrong option .*'y'"),
    ],
)
def test_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.load(files(tmp_path, **changes))


def test_trained_on_too_little():
    with pytest.raises(ValueError, match='byte-level vocabulary of 200 tokens is too small'):
        tokenizer.train(['a'], 200, False, 'byte_bpe')
    with pytest.raises(ValueError, match='no text to train a vocabulary on'):
        tokenizer.train([''], 300, False, 'byte_bpe')
    with pytest.raises(ValueError, match=r'strip_accents is True, .*byte_bpe .*always False'):
        tokenizer.train(['a'], 300, False, 'byte_bpe', strip_accents=True)


def test_vocabularies_with_the_same_tokens_may_differ():
    texts = ['some words of some text, and some more'] * 9
    plain = tokenizer.train(texts, 280, False, 'byte_bpe')
    ids, merges = {piece: i for i, piece in enumerate(plain.pieces)}, plain.merges
    others = {
        'vocabulary.json and lowercase': tokenizer.ByteBPE(ids, merges, lowercase=True),
        'vocabulary.json': tokenizer.ByteBPE(ids, merges, add_prefix_space=True),
        'merges.txt': tokenizer.ByteBPE(ids, merges[:-1]),
    }
    assert plain.difference(tokenizer.ByteBPE(ids, merges)) == ''
    for says, other in others.items():
        assert plain.difference(other).endswith(f' tokens, with another {says}')
