"""The ids of ALBERT's and XLNet's own code, and their places in the text."""

import unicodedata

import pytest
import sentencepiece
from small_run import QUICK
from tokenizer_texts import odd_texts, squad_questions, wikipedia_leads

from bert_jax.data.tokenizers import tokenizer

MODELS = {'albert-base-v2': True, 'xlnet-base-cased': False}  # name: whether it is lowercased
IDS = {
    'I was born in 92000, and this is falsé.': (
        '31 23 386 19 561 3050 15 17 48 25 4997 9',
        '35 30 1094 25 664 7701 19 21 52 27 4417 9',
    ),
    '20th-century (a) "b" $5,000.': (
        '434 96 8 2995 13 5 58 6 13 7 220 7 27564 9',
        '378 138 13 4877 17 10 101 11 17 12 508 12 19774 9',
    ),
}


def reference(model, text, lowercase):
    """The pieces of a text by the published rules, one step after the other."""
    text = ' '.join(text.split()).replace('``', '"').replace("''", '"')
    plain = [c for c in unicodedata.normalize('NFKD', text) if not unicodedata.combining(c)]
    text = ''.join(plain).lower() if lowercase else ''.join(plain)
    for piece in model.encode_as_pieces(text):
        if not (len(piece) > 1 and piece.endswith(',') and piece[-2].isdigit()):
            yield piece
            continue
        word = ''.join(model.encode_as_pieces(piece.strip('▁').removesuffix(',')))
        split = model.encode_as_pieces(word.strip('▁'))
        if not piece.startswith('▁'):
            split[0] = split[0].removeprefix('▁')
        yield from filter(None, split)
        yield ','


@pytest.mark.parametrize('name', MODELS)
def test_ids_are_those_of_the_published_rules(shared_data, name):
    path = shared_data(f'vocab/{name}/spiece.model')
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    loaded = tokenizer.load(path, MODELS[name])
    texts = [*squad_questions(shared_data), *odd_texts(10_000), *wikipedia_leads(shared_data, 1000)]
    spelled = {p for p in loaded.pieces if p[0] + p[-1] in ('<>', '[]')}
    texts = [text for text in texts if not any(piece in text for piece in spelled)]
    assert len(texts) > (12_000 if QUICK else 90_000)
    commas = 0
    for text, ids in zip(texts, loaded.encode_batch(texts), strict=True):
        expected = [model.piece_to_id(p) for p in reference(model, text, MODELS[name])]
        assert ids == expected, text
        commas += ids != model.encode(' '.join(text.split()))
    assert commas > 300


@pytest.mark.parametrize('text', IDS)
def test_known_ids(shared_data, text):
    for (name, lowercase), ids in zip(MODELS.items(), IDS[text], strict=True):
        loaded = tokenizer.load(shared_data(f'vocab/{name}/spiece.model'), lowercase)
        assert loaded.encode_batch([text]) == [[*map(int, ids.split())]]


@pytest.mark.parametrize('name', MODELS)
def test_places_of_commas(shared_data, name):
    loaded = tokenizer.load(shared_data(f'vocab/{name}/spiece.model'), MODELS[name])
    text = 'In 1,000,000,  or 92000, or ２０２０, and ½, 5,'
    [(ids, spans)] = loaded.encode_offsets([text])
    assert [ids] == loaded.encode_batch([text])
    commas = [i for i, char in enumerate(text) if char == ',' and not text[i + 1 : i + 2].isdigit()]
    found = [start for start, end in spans if text[start:end] == ',']
    assert [i for i in commas if i not in found] == []
    for i, (start, end) in zip(ids, spans, strict=True):
        plain = unicodedata.normalize('NFKD', text[start:end])
        assert loaded.pieces[i].strip('▁') in (plain, plain.lower()) or '½' in text[start:end]
