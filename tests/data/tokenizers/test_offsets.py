import gzip
import unicodedata

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.model_tokenizer import accentless_starts, without_accents

PIECES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefgxyz1.', 'cafe', 'the', '東']
PIECES += ['##' + piece for piece in 'abcdefgxyz1'] + ["'", '"', '`', '##ing', 'ing']
# Normalizers change these: accents of both forms, ligatures, fractions, wide letters, controls.
ODD = 'aeéE\u0301\u0308ﬁ½２Ａİßς東 \t\u00a0\u3000\u200b\u00ad\x00\ufffd😀`\'"가\u1100\u1161ıǄ\u0345'
TEXTS = st.lists(st.text(st.sampled_from(ODD) | st.characters(codec='utf-8'), max_size=40))
SENTENCES = [
    'the quick brown fox jumps over the lazy dog',
    'naïve café owners greet the foxes, 1999 times!',
    'über alles: 東京 and 大阪 are cities',
] * 20


def sentencepiece_model(folder, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(folder / 'm'),
        hard_vocab_limit=False,
        minloglevel=2,
        control_symbols=['[CLS]', '[SEP]', '[MASK]'],
        pad_id=3,
        **options,
    )
    return folder / 'm.model'


@pytest.fixture(scope='module')
def vocabularies(tmp_path_factory):
    def trained(name, lowercase, **options):
        path = sentencepiece_model(tmp_path_factory.mktemp(name), **options)
        return tokenizer.load(path, lowercase)

    return {
        'uncased': tokenizer.WordPiece(PIECES, lowercase=True),
        'cased': tokenizer.WordPiece(PIECES, lowercase=False),
        'sentencepiece, plain': trained('plain', True, vocab_size=80),
        'sentencepiece, accents': trained('accents', False, vocab_size=80),
        'sentencepiece, bytes': trained('bytes', False, vocab_size=400, byte_fallback=True),
    }


def check(vocabulary, texts):
    """The ids are those of encode_batch, and the spans are in order and inside the text."""
    found = vocabulary.encode_offsets(texts)
    assert [ids for ids, _ in found] == vocabulary.encode_batch(texts)
    for text, (ids, spans) in zip(texts, found, strict=True):
        assert len(spans) == len(ids)
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        assert starts == sorted(starts) and ends == sorted(ends), (text, spans)
        for start, end in spans:
            assert 0 <= start <= end <= len(text)
            assert text[start:end] == text[start:end].strip()
    return found


@pytest.mark.parametrize(
    'name',
    ['uncased', 'cased', 'sentencepiece, plain', 'sentencepiece, accents', 'sentencepiece, bytes'],
)
@settings(max_examples=100, deadline=None)
@given(texts=TEXTS)
def test_ids_are_those_of_encode_batch_and_spans_are_in_order(vocabularies, name, texts):
    check(vocabularies[name], texts)


@given(st.text(st.sampled_from(ODD) | st.characters(codec='utf-8'), max_size=40))
def test_each_character_without_accents_comes_from_one_with(text):
    starts = accentless_starts(text)
    plain = without_accents(text)
    assert len(starts) == len(plain) + 1 and starts == sorted(starts) and starts[-1] == len(text)
    # A TeX quote comes from two characters.
    for char, start in zip(plain, starts, strict=False):
        assert char in without_accents(text[start : start + 2])


def surfaces(vocabulary, text):
    [(_, spans)] = check(vocabulary, [text])
    return [text[start:end] for start, end in spans]


def test_spans_are_of_the_text_as_it_was_given(vocabularies):
    uncased, plain = vocabularies['uncased'], vocabularies['sentencepiece, plain']
    for text in ('The  CAFÉ.', 'The  CAFE\u0301.'):
        assert surfaces(uncased, text) == text.replace('.', ' .').split()
        assert ''.join(surfaces(plain, text)) == text.replace(' ', '')
    assert surfaces(uncased, 'a\u200bb 東東') == ['a', 'b', '東', '東']
    assert [part for part in surfaces(plain, '½ fox') if part][:2] == ['½', '½']
    quoted = [part for part in surfaces(plain, "``fox''") if part]
    assert quoted[0] == '``' and quoted[-1] == "''" and ''.join(quoted[1:-1]) == 'fox'


def test_a_token_of_white_space_has_no_characters(vocabularies):
    [(ids, spans)] = check(vocabularies['sentencepiece, plain'], ['a  大大'])
    pieces = [vocabularies['sentencepiece, plain'].pieces[i] for i in ids]
    assert pieces[:2] == ['▁a', '▁'] and spans[:2] == [(0, 1), (1, 1)] and spans[-1][1] == 5


@pytest.mark.parametrize(
    'name, lowercase',
    [
        ('bert-base-uncased/vocab.txt', True),
        ('bert-base-cased/vocab.txt', False),
        ('albert-base-v2/spiece.model', True),
        ('xlnet-base-cased/spiece.model', False),
    ],
)
@pytest.mark.parametrize('language', ['en', 'fr'])
def test_all_of_real_text_is_covered(shared_data, name, lowercase, language):
    vocabulary = tokenizer.load(shared_data(f'vocab/{name}'), lowercase)
    with gzip.open(shared_data(f'corpora/wikipedia_leads_{language}.txt.gz'), 'rt') as file:
        texts = [line.strip() for _, line in zip(range(600), file, strict=False)]
    left = ''
    for text, (_, spans) in zip(texts, check(vocabulary, texts), strict=True):
        covered = {i for start, end in spans for i in range(start, end)}
        left += ''.join(char for i, char in enumerate(text) if i not in covered)
    visible = [char for char in left if unicodedata.category(char)[0] in 'LNPS']
    assert not visible
    assert sum(map(len, texts)) > 50_000
