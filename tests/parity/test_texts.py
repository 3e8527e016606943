"""Texts have the token ids of the fast and the slow tokenizer of transformers."""

import gzip
import json
import unicodedata
from typing import Any

import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.tokenizers import tokenizer

pytestmark = pytest.mark.slow

LINES = (
    'Ünïcödé wörds, naïve café: ÅNGSTRÖM',
    'e\u0301 e\u0308\u0301 combining, n\u0303 too; ﬁ ligature, ½, ①',
    '中文和日本語、한국어 mixed with English',
    'Привет, мир! Ёлка. Ελληνικά ΣΊΣΥΦΟΣ İstanbul ıI ẞß',
    'שָׁלוֹם עולם — مَرْحَبًا بالعالم',
    'नमस्ते दुनिया ไทยไม่มีช่องว่าง',
    'emoji 👩‍👩‍👧‍👦 👍🏽 🇫🇷 ❤️ zero\u200dwidth\u200bspace\u200c and \ufeffmark',
    'control \x00 \x07 \x1f \x7f \x85 \xad \ufffd characters\r\n\ttabs',
    'a\u00a0b\u2003c\u3000d\u2028e\u2029f',
    'under_score $100 <tag> a+b=c ~`^| “quotes” …—–',
    'word' * 60,
    '',
    ' ',
)


# The two references differ for newer characters, because only one uses Python's Unicode tables.
OLD = unicodedata.ucd_3_2_0.category
ASSIGNED = [c for c in map(chr, range(0x110000)) if OLD(c) not in ('Cn', 'Cs')]


def references(vocabulary: Any, lowercase: bool) -> dict[str, Any]:
    """Functions from text to ids, without special tokens."""
    from transformers.models.bert import tokenization_bert_legacy as legacy

    fast = reference.transformers.BertTokenizer(
        str(vocabulary), do_lower_case=lowercase, model_max_length=1 << 30
    )
    slow = legacy.BertTokenizerLegacy(str(vocabulary), do_lower_case=lowercase)
    assert fast.is_fast and not slow.is_fast

    def slowly(text: str) -> list[int]:
        # The slow tokenizer composes accents in cased text, and lowercases the Σ at the end of a
        # word to ς in uncased text; the fast one does neither.
        text = text.replace('Σ', 'σ') if lowercase else unicodedata.normalize('NFC', text)
        pieces = [
            piece
            for word in slow.basic_tokenizer.tokenize(text)
            for piece in slow.wordpiece_tokenizer.tokenize(word)
        ]
        return slow.convert_tokens_to_ids(pieces)

    return {'fast': lambda text: fast.encode(text, add_special_tokens=False), 'slow': slowly}


def mismatches(lines: list[str], ours: tokenizer.Tokenizer, theirs: Any, nfc: bool) -> list[str]:
    texts = [unicodedata.normalize('NFC', line) for line in lines] if nfc else lines
    found = ours.encode_batch(texts)
    return [line for line, ids in zip(lines, found, strict=True) if ids != theirs(line)]


@pytest.fixture(scope='module', params=['uncased', 'cased'])
def tokenizers(request: Any, shared_data: Any) -> tuple[tokenizer.Tokenizer, dict[str, Any], bool]:
    vocabulary = shared_data(f'vocab/bert-base-{request.param}/vocab.txt')
    lowercase = request.param == 'uncased'
    return tokenizer.load(vocabulary, lowercase), references(vocabulary, lowercase), lowercase


@pytest.mark.parametrize('kind', ['fast', 'slow'])
def test_real_and_nasty_lines(tokenizers: Any, shared_data: Any, kind: str) -> None:
    ours, theirs, lowercase = tokenizers
    lines = list(LINES)
    squad = json.loads(shared_data('squad/dev-v1.1.json').read_text())
    lines += [
        question['question']
        for article in squad['data']
        for paragraph in article['paragraphs']
        for question in paragraph['qas']
    ]
    with gzip.open(shared_data('corpora/wikipedia_leads_fr.txt.gz'), 'rt') as file:
        lines += [line.strip() for _, line in zip(range(500), file, strict=False)]
    wrong = mismatches(lines, ours, theirs[kind], nfc=kind == 'slow' and not lowercase)
    print(f'{kind}, lowercase={lowercase}: {len(wrong)} of {len(lines)} lines differ')
    assert len(lines) > 10_000 and not wrong, wrong[:3]


@pytest.mark.parametrize('kind', ['fast', 'slow'])
@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(lines=st.lists(st.text(st.sampled_from(ASSIGNED), max_size=30), min_size=100, max_size=100))
def test_any_text(tokenizers: Any, kind: str, lines: list[str]) -> None:
    ours, theirs, lowercase = tokenizers
    # Special tokens typed as text are text to us.
    lines = [line for line in lines if not any(name in line for name in tokenizer.SPECIALS)]
    wrong = mismatches(lines, ours, theirs[kind], nfc=kind == 'slow' and not lowercase)
    assert not wrong, wrong[:3]
