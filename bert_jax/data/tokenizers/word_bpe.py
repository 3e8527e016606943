"""BPE over words that Moses has split, for XLM and FlauBERT: vocab.json and merges.txt.

See Sennrich et al. (2016) and Lample and Conneau (2019), section 3.1. The last token of a word ends
in '</w>'.
"""

import copy
import dataclasses
import functools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
from etils import epath
from tokenizers import decoders, models, pre_tokenizers, trainers

from bert_jax.data.tokenizers import moses
from bert_jax.data.tokenizers.base import Span, marker, trimmed
from bert_jax.data.tokenizers.byte_bpe import Merges, bpe_files, check_accents, read_files
from bert_jax.data.tokenizers.fast_tokenizer import FastTokenizer, by_id, trained
from bert_jax.data.tokenizers.specials import XLM, find_specials
from bert_jax.data.tokenizers.wordpiece_vocabulary import alphabet

END = '</w>'
RESERVED = tuple(f'<special{i}>' for i in range(10))  # the second one is the mask
KINDS = ('xlm_bpe', 'flaubert_bpe')
MATCH, MAX_DIFFERENCE = 3, 40  # characters, in `_source_spans`


class WordBPE(FastTokenizer):
    """The tokenizer of XLM or FlauBERT.

    ids: the tokens' ids. merges: the pairs of tokens that are joined, in the order of their
    priority. Raises ValueError naming `source` if the vocabulary is not complete, and as
    `moses.Rules` does.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        merges: Merges,
        rules: moses.Rules,
        specials: Mapping[str, str] | None = None,
        source: object = 'the vocabulary',
    ):
        pieces = by_id(ids, source)
        names = XLM.by_role() | dict(specials or {})
        roles = find_specials(pieces, source, 'an XLM vocabulary has them in front', names)
        self.kind, self.merges, self.rules = rules.kind, merges, rules
        # Joined pairs may be tokens that are too rare for the vocabulary. They become the unknown
        # token.
        parts = (part for a, b in merges for part in (a, b, a + b))
        rare = [part for part in dict.fromkeys(parts) if part not in ids]
        known = {**ids, **{part: len(pieces) + i for i, part in enumerate(rare)}}
        unk = pieces[roles.unk]
        model = _word_tokenizer(
            models.BPE(known, list(merges), unk_token=unk, end_of_word_suffix=END)
        )
        options = {'lowercase': rules.lowercase, 'language': rules.language}
        files = bpe_files(pieces, merges) | marker(self.kind, specials, **options)
        super().__init__(model, pieces, roles, files, rules.lowercase)

    @property
    def language(self) -> str:
        return self.rules.language

    def for_language(self, language: str) -> 'WordBPE':
        """This vocabulary with the rules of Moses for `language`. FlauBERT is always French."""
        if self.kind == 'flaubert_bpe' or language == self.rules.language:
            return self
        other = copy.copy(self)
        other.rules = dataclasses.replace(self.rules, language=language)
        return other

    def _with_unknown(self, ids: list[int]) -> list[int]:
        return [i if i < self.vocab_size else self.specials.unk for i in ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return list(map(self._with_unknown, super().encode_batch(moses.split(texts, self.rules))))

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        words = moses.split(texts, self.rules)
        result = []
        for text, joined, (ids, of_words) in zip(
            texts, words, super().encode_offsets(words), strict=True
        ):
            places = _source_spans(text, joined)
            spans = [
                (places[start][0], max(end for _, end in places[start:stop]))
                for start, stop in of_words
            ]
            result.append((self._with_unknown(ids), trimmed(text, spans)))
        return result


def read(folder: epath.Path, kind: str, **options: Any) -> WordBPE:
    """The vocabulary in a folder. options: those of `moses.Rules`, and `specials`. Raises
    ValueError if it is not one."""
    specials = options.pop('specials', None)
    rules = moses.Rules(kind, **options)
    return WordBPE(*read_files(folder), rules, specials, folder)


def train(
    texts: Sequence[str],
    vocab_size: int,
    lowercase: bool,
    strip_accents: bool | None = None,
    *,
    kind: str,
    language: str | Sequence[str] = 'en',
) -> WordBPE:
    """A vocabulary of at most `vocab_size` tokens that is learned from `texts`, in XLM's layout.

    language: the language of all texts, or a list with the language of each text. The same texts
    give the same vocabulary in every process. Raises ValueError if there is no text, if
    `vocab_size` is too small, or as `moses.Rules` does.
    """
    check_accents(kind, lowercase, strip_accents)
    if kind == 'flaubert_bpe':
        language = 'fr'
    languages = [language] * len(texts) if isinstance(language, str) else language
    rules = {name: moses.Rules(kind, lowercase, name) for name in dict.fromkeys(languages)}
    words = list[str]()
    for name, rule in rules.items():
        chosen = [text for text, its in zip(texts, languages, strict=True) if its == name]
        words += moses.split(chosen, rule)
    chars = alphabet(words, str, vocab_size // 4, vocab_size)
    # The trainer's order of characters is random unless they are special tokens (see WordPiece).
    first = [*('<s>', '</s>', '<pad>', '<unk>'), *RESERVED, *chars, *(char + END for char in chars)]
    backend = _word_tokenizer(models.BPE(unk_token=XLM.unk, end_of_word_suffix=END))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=first,
        initial_alphabet=chars,
        limit_alphabet=len(chars),
        end_of_word_suffix=END,
        show_progress=False,
    )
    model = trained(backend, trainer, words)
    merges = [(a, b) for a, b in model['merges']]
    return WordBPE(model['vocab'], merges, next(iter(rules.values())))


def _word_tokenizer(model: models.BPE) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(' ', 'removed')
    tokenizer.decoder = decoders.BPEDecoder(END)
    return tokenizer


def _source_spans(text: str, words: str) -> list[Span]:
    """For each character of `words`, the characters of `text` that it comes from.

    Moses replaces, inserts and removes characters, and moves a few by one or two places (English
    quotation marks behind full stops). Both strings are read from left to right. Where they differ,
    the function searches the next place at which MATCH characters agree; all characters before that
    place share a span.
    """
    ours, owners = _plain(text)
    theirs, places_of = _plain(words)
    found, i, j = list[Span](), 0, 0
    while j < len(theirs):
        agree = ours[i : i + 1] == theirs[j]
        skipped, added = (1, 1) if agree else _difference(ours[i:], theirs[j:])
        start = owners[i] if i < len(owners) else len(text)
        end = owners[i + skipped - 1] + 1 if skipped else start
        found += [(start, end)] * added
        i, j = i + skipped, j + added
    result, last = [], (0, 0)
    by_place = dict(zip(places_of, found, strict=True))
    for place in range(len(words)):
        last = by_place.get(place, last)  # an accent has the place of its letter
        result.append(last)
    return result


def _difference(ours: str, theirs: str) -> tuple[int, int]:
    """Returns the number of characters to skip in each text, so that the texts agree again."""
    for total in range(1, MAX_DIFFERENCE):
        for added in range(total + 1):
            skipped = total - added
            rest = ours[skipped : skipped + MATCH]
            if skipped <= len(ours) and rest == theirs[added : added + MATCH]:
                return skipped, added
    return len(ours), len(theirs)


def _plain(text: str) -> tuple[str, list[int]]:
    """The text in lower case without accents and white space, and the place of each character."""
    parts = [(part, i) for i, char in enumerate(text) for part in _plain_characters(char)]
    return ''.join(part for part, _ in parts), [i for _, i in parts]


@functools.lru_cache(1 << 16)
def _plain_characters(char: str) -> str:
    """The character in lower case, without accents; '' for white space."""
    decomposed = '' if char.isspace() else unicodedata.normalize('NFD', char.lower())
    return ''.join(part for part in decomposed if unicodedata.category(part) != 'Mn')
