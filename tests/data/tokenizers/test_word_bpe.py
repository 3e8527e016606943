"""BPE over the words of Moses: the ids of XLM and FlauBERT, places in the text, languages."""

import builtins

import numpy as np
import pytest
from small_run import QUICK
from tokenizer_texts import odd_texts, squad_questions, wikipedia_leads

from bert_jax.data.tokenizers import moses, tokenizer, word_bpe
from bert_jax.data.tokenizers.specials import Specials

TEXTS = [
    'The quick brown foxes jump over the lazy dogs.',
    "C'est l'été à Paris, n'est-ce pas ?",
    "Mr. Smith paid $1,000.50 — “quotes”… for ``tex'' Müller.",
] * 20
CASES = [('xlm_bpe', True), ('xlm_bpe', False), ('flaubert_bpe', True), ('flaubert_bpe', False)]


@pytest.fixture(scope='module')
def trained():
    pytest.importorskip('sacremoses')
    return {case: tokenizer.train(TEXTS, 300, case[1], case[0]) for case in CASES}


def test_layout(trained):
    for vocabulary in trained.values():
        assert vocabulary.pieces[:6] == [
            '<s>',
            '</s>',
            '<pad>',
            '<unk>',
            '<special0>',
            '<special1>',
        ]
        assert vocabulary.specials == Specials(pad=2, unk=3, cls=1, sep=1, mask=5, bos=0, eos=1)
        assert not set(range(14)) & set(vocabulary.ordinary_ids.tolist())
        typed = vocabulary.encode_batch(['a <special1> </s> b'])[0]
        assert not {0, 1, 2, 5} & set(typed)


def test_case_and_accents(trained):
    found = [v.decode(v.encode_batch(['The été'])[0]) for v in trained.values()]
    assert found == ['the ete', 'The été', 'the été', 'The été']
    assert [v.lowercase for v in trained.values()] == [lowercase for _, lowercase in CASES]


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES, ids=str)
def test_ids_are_those_of_transformers(shared_data, tmp_path, case):
    pytest.importorskip('sacremoses')
    transformers = pytest.importorskip('transformers')
    kind, lowercase = case
    vocabulary = tokenizer.train(wikipedia_leads(shared_data, 200), 2000, lowercase, kind)
    vocabulary.save(tmp_path)
    make, option = {
        'xlm_bpe': (transformers.XLMTokenizer, 'do_lowercase_and_remove_accent'),
        'flaubert_bpe': (transformers.FlaubertTokenizer, 'do_lowercase'),
    }[kind]
    files = [str(tmp_path / name) for name in ('vocab.json', 'merges.txt')]
    theirs = make(*files, **{option: lowercase})
    texts = [*squad_questions(shared_data)[:: 4 if QUICK else 40], *odd_texts(2000)]
    assert len(texts) > 4000
    # Transformers finds special tokens in text; the words alone are compared.
    expected = [theirs.convert_tokens_to_ids(theirs._tokenize(text)) for text in texts]
    assert vocabulary.encode_batch(texts) == expected


@pytest.mark.parametrize('case', CASES, ids=str)
def test_places_in_the_text(trained, shared_data, case):
    vocabulary = trained[case]
    texts = [*TEXTS[:3], *odd_texts(300), *wikipedia_leads(shared_data, 50)]
    for text, (ids, spans) in zip(texts, vocabulary.encode_offsets(texts), strict=True):
        assert [ids] == vocabulary.encode_batch([text]) and len(ids) == len(spans)
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        assert starts == sorted(starts) and ends == sorted(ends), (text, spans)
        assert all(0 <= start <= end <= len(text) for start, end in spans)
    [(ids, spans)] = vocabulary.encode_offsets(["Mr. Smith: “quotes”… ``tex'' $1,000"])
    pieces = [vocabulary.pieces[i].removesuffix('</w>') for i in ids]
    surfaces = ["Mr. Smith: “quotes”… ``tex'' $1,000"[start:end] for start, end in spans]
    assert '“' in surfaces and "''" in surfaces and '$' in surfaces
    for piece, surface in zip(pieces, surfaces, strict=True):
        if piece.isalnum():
            assert piece.lower() == surface.lower()


def test_starts_of_words(trained):
    vocabulary = trained['flaubert_bpe', False]
    [ids] = vocabulary.encode_batch(['The foxes, dogs'])
    starts = np.flatnonzero(vocabulary.word_starts(np.array(ids)))
    words = [vocabulary.decode(part).strip() for part in np.split(ids, starts[1:])]
    assert words == ['The', 'foxes', ',', 'dogs']


def test_languages(trained, tmp_path):
    text = "C'est l'été"
    english = trained['xlm_bpe', True]
    french = english.for_language('fr')
    assert french.rules.words(text) == ["c'", 'est', "l'", 'ete']
    assert english.rules.words(text) != french.rules.words(text)
    assert french.encode_batch([text]) != english.encode_batch([text])
    flaubert = trained['flaubert_bpe', False]
    assert flaubert.for_language('en') is flaubert and flaubert.rules.language == 'fr'
    with pytest.raises(ValueError, match="language is 'zh', for which XLM needs other programs"):
        english.for_language('zh')
    both = tokenizer.train(TEXTS[:2], 200, True, 'xlm_bpe', language=['en', 'fr'])
    assert both.rules.language == 'en'


def test_a_long_batch_is_split_in_processes(trained, monkeypatch):
    texts = [*TEXTS[:3], 'é\u0301 東京'] * 5
    rules = trained['xlm_bpe', True].rules
    here = moses.split(texts, rules)
    monkeypatch.setattr(moses, 'PARALLEL_CHARS', 10)
    assert moses.split(texts, rules) == here


def test_pairs_that_join_to_a_token_outside_the_vocabulary():
    pytest.importorskip('sacremoses')
    pieces = ['<s>', '</s>', '<pad>', '<unk>', '<special0>', '<special1>', 'a', 'b</w>', 'b']
    ids = {piece: i for i, piece in enumerate(pieces)}
    rules = moses.Rules('xlm_bpe', True)
    vocabulary = word_bpe.WordBPE(ids, [('a', 'b</w>'), ('a', 'b'), ('ab', 'a</w>')], rules)
    # 'ab</w>' and 'aba</w>' are no tokens of the vocabulary.
    assert vocabulary.encode_batch(['ab', 'aba', 'bab', 'b']) == [[3], [3], [8, 3], [7]]


def test_refused(trained, monkeypatch):
    with pytest.raises(
        ValueError, match=r'strip_accents is False, but with .*xlm_bpe.* always True'
    ):
        tokenizer.train(TEXTS, 300, True, 'xlm_bpe', strip_accents=False)
    with pytest.raises(ValueError, match='vocabulary of 20 tokens is too small'):
        tokenizer.train(TEXTS, 20, True, 'xlm_bpe')
    real = builtins.__import__

    def without(name, *args):
        if name == 'sacremoses':
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, '__import__', without)
    moses._moses.cache_clear()
    with pytest.raises(ValueError, match='need the package sacremoses: pip install sacremoses'):
        moses.Rules('xlm_bpe', True)
    moses._moses.cache_clear()
