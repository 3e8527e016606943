"""Lines of text with one masked word each, as rows of token ids, to show what a model predicts."""

import itertools
import logging
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bert_jax.config import Config
from bert_jax.data import model_languages
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.texts import Row, TextEncoder
from bert_jax.data.store import format
from bert_jax.data.text import languages
from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.tokenizer import Tokenizer

LOG = logging.getLogger('bert_jax.data.pretraining.example_rows')
HELD_OUT = 5  # lines of the held-out text
TRIES = 1000  # at most this many random sentences are tried
TOKENS = range(5, 17)  # the allowed numbers of tokens of a sentence
CHARACTERS = 36  # at most, so that a sentence and its predictions fit in 80 columns


class Line(NamedTuple):
    """A line of text with a masked word.

    text: the line with a mask token. shown: the line with the characters `blank` instead of the
    mask token. answer: the masked word; '' in the lines of config.data.examples, which do not say
    it. language: the language of the line; '' if it is not known.
    """

    text: str
    shown: str
    answer: str
    language: str


class ExampleRows(NamedTuple):
    """arrays: input_ids, token_type_ids, attention_mask and position_ids, int32[lines, length], and
    masked_lm_positions, int32[lines, 1]. texts, lines, answers: see `Line`."""

    arrays: dict[str, np.ndarray]
    texts: list[str]
    lines: list[str]
    answers: list[str]
    vocabulary: Tokenizer


def example_rows(directory: pathlib.Path, config: Config, length: int, blank: str) -> ExampleRows:
    """The lines of `config.data.examples`, and HELD_OUT sentences of the eval split.

    The sentences depend on the store alone. length: the number of tokens in a row. The end of a
    longer line is cut off; if the mask is in that end, the line is left out. blank: the text that
    stands for the masked word.
    """
    vocabulary = tokenizer.load(directory, format.read_meta(directory).lowercase)
    marker = '|'.join(map(re.escape, vocabulary.mask_markers))
    given = filter(None, map(str.strip, config.data.examples.splitlines()))
    lines = [Line(text, re.sub(marker, blank, text), '', '') for text in given]
    lines += itertools.islice(_held_out(directory, vocabulary, blank), HELD_OUT)
    mask, kept, rows = vocabulary.specials.mask, list[Line](), list[Row]()
    for line in lines:
        language = line.language or config.data.language
        row_format = model_languages.row_format(config.model, language)
        words = vocabulary.for_language(language) if language else vocabulary
        encoder = TextEncoder(words, length, config.model.type_vocab_size, row_format)
        (row,) = encoder.encode([line.text])
        if row.input_ids.count(mask) == 1:
            kept.append(line)
            rows.append(row)
        elif not line.answer:  # the user has written this line
            LOG.warning(
                'config.data.examples: %r is left out, because its first %d tokens do not have one '
                '%s',
                *(line.text, length, vocabulary.special_pieces.mask),
            )
    positions = np.array([row.input_ids.index(mask) for row in rows], np.int32)[:, None]
    encoded = EncodedExamples.from_rows(
        rows, {'masked_lm_positions': positions}, vocabulary.specials.pad
    )
    arrays = dict(encoded.batch(np.arange(len(rows)), len(rows), length))
    del arrays['example_weights'], arrays['example_ids']
    arrays['position_ids'] = np.tile(np.arange(length, dtype=np.int32), (len(rows), 1))
    if config.objective == 'plm':  # all tokens see those that are not masked, none sees the mask
        arrays['factorization_order'] = (arrays['input_ids'] == mask).astype(np.int32)
    texts, shown, answers = ([line[column] for line in kept] for column in range(3))
    return ExampleRows(arrays, texts, shown, answers, vocabulary)


def _held_out(directory: pathlib.Path, vocabulary: Tokenizer, blank: str) -> Iterator[Line]:
    """Different random sentences, with a masked word each."""
    store, parts = format.open_store(directory, 'eval'), format.open_parts(directory, 'eval')
    random, seen = np.random.default_rng(0), set[str]()
    for sentence in random.integers(len(store.sentences) - 1, size=TRIES).tolist():
        ids = store.tokens[store.sentences[sentence] : store.sentences[sentence + 1]].tolist()
        words = [i for i in range(len(ids)) if len(ids) in TOKENS and _is_word(ids, i, vocabulary)]
        text = vocabulary.decode(ids)
        if not words or len(text) > CHARACTERS or '_' in text or text in seen:
            continue
        seen.add(text)
        place = int(random.choice(words))
        before, word, after = (
            vocabulary.decode(part).strip()
            for part in (ids[:place], ids[place : place + 1], ids[place + 1 :])
        )
        if word.isalpha():
            mask = vocabulary.special_pieces.mask
            masked, line = (f'{before} {token} {after}'.strip() for token in (mask, blank))
            yield Line(masked, line, word, _language(parts, int(store.sentences[sentence])))


def _language(parts: Mapping[str, format.Store], first: int) -> str:
    """The language of the sentence whose first token is token `first` of a split."""
    name, part = next((n, p) for n, p in parts.items() if first < p.sentences[-1])
    own = languages.of_part(name)
    # The sentences of pairs are in both languages in turn.
    return own[int(np.searchsorted(part.sentences, first)) % len(own)]


def _is_word(ids: list[int], i: int, vocabulary: Tokenizer) -> bool:
    """Returns whether token i of a sentence is a whole word."""
    starts, end = vocabulary.word_starts(np.array(ids)), i + 1 == len(ids)
    ordinary = ids[i] not in vocabulary.specials.all()
    return ordinary and bool(starts[i] and (end or starts[i + 1]))
