"""Adds words to a vocabulary, for text with special words (config.data.add_tokens).

The new tokens are at the end of the vocabulary, so that the ids of all other tokens stay the same.
How a word becomes a token depends on the kind of vocabulary:

- WordPiece: the word is added to the list of tokens.
- SentencePiece: the word is added with a score that is higher than that of its former pieces.
- all others: the word is an added token, which is searched for in the text before the rest of the
  text is split.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bert_jax.data.tokenizers import model_tokenizer, sentencepiece_model, word_bpe
from bert_jax.data.tokenizers.added_tokens import AddedToken, WithAddedTokens
from bert_jax.data.tokenizers.base import Tokenizer
from bert_jax.data.tokenizers.sentencepiece_model import SentencePiece
from bert_jax.data.tokenizers.wordpiece_vocabulary import WordPiece

MARGIN = 1.0  # what the score of a new piece gains for each former piece that it joins
NAME = 'config.data.add_tokens'
SHOWN = 5  # words in a message


def read(value: str) -> list[str]:
    """The words of config.data.add_tokens: a file with a word on each line, or words between
    commas. Raises ValueError if there are none, or if the file cannot be read."""
    path = pathlib.Path(value).expanduser()
    if path.is_file():
        try:
            parts = path.read_text('utf-8-sig').split('\n')
        except UnicodeDecodeError as error:
            raise ValueError(f'{NAME}: {path} is not UTF-8 ({error}); convert it') from error
    elif '/' in value or path.suffix in ('.txt', '.csv', '.tsv', '.json', '.jsonl'):
        raise ValueError(f'{NAME}: there is no file {value}; expected a file, or words with commas')
    else:
        parts = value.split(',')
    words = list(dict.fromkeys(word.strip() for word in parts if word.strip()))
    if not words:
        raise ValueError(f'{NAME}={value} has no words')
    return words


def larger(vocabulary: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """The vocabulary with the words at its end. Raises ValueError if a word cannot be added, for
    example because text is split at spaces and punctuation first."""
    special, unk = vocabulary.special_pieces.all(), [vocabulary.specials.unk]
    _refuse([word for word in words if word in special], 'special tokens of the vocabulary')
    if vocabulary.lowercase:
        capitals = [word for word in words if word != word.lower()]
        _refuse(capitals, 'written with capital letters, but text is lowercased')
    encoded = zip(words, vocabulary.encode_words(words), strict=True)
    known = [word for word, ids in encoded if len(ids) == 1 and ids != unk]
    _refuse(known, 'in the vocabulary already')
    made = KINDS.get(vocabulary.kind, _added)(vocabulary, words)
    encoded = zip(words, made.encode_words(words), strict=True)
    split = [word for word, ids in encoded if len(ids) != 1 or ids == unk]
    reason = 'spaces, punctuation, Chinese characters and accents first'
    _refuse(split, f'several tokens in any vocabulary, because text is split at {reason}')
    return made


def _refuse(words: Sequence[str], problem: str) -> None:
    """Raises ValueError for words that cannot be added, if there are any."""
    if words:
        shown = ', '.join(map(repr, words[:SHOWN])) + (', ...' if len(words) > SHOWN else '')
        count = f'{len(words):,} are' if len(words) > 1 else 'one is'
        raise ValueError(f'{NAME}: of the words, {count} {problem}: {shown}; leave them out')


def former(vocabulary: Tokenizer, made: Tokenizer) -> dict[int, tuple[int, ...]]:
    """Maps the id of each new token of `made`, the larger vocabulary, to the ids of the pieces into
    which `vocabulary` splits it."""
    new = range(vocabulary.vocab_size, made.vocab_size)
    pieces = vocabulary.encode_words([made.decode([i]).strip() for i in new])
    return dict(zip(new, map(tuple, pieces), strict=True))


def _word_pieces(vocabulary: Any, words: Sequence[str]) -> Tokenizer:
    """The WordPiece vocabulary with the words at the end of its list."""
    pieces, strips = [*vocabulary.pieces, *words], vocabulary.strip_accents
    return WordPiece(pieces, vocabulary.lowercase, strip_accents=strips)


def _scored(vocabulary: Any, words: Sequence[str]) -> Tokenizer:
    """Adds words to a SentencePiece vocabulary. Each word is added in two forms: the one after a
    space and the one after punctuation."""
    content = vocabulary.files[model_tokenizer.MODEL]
    problem = (
        f'{NAME} does not work with this SentencePiece model, which is not a unigram model; '
        'add the words when you train the model (--user_defined_symbols)'
    )
    proto, bare = (sentencepiece_model.unigram_proto(content, problem) for _ in range(2))
    bare.normalizer_spec.add_dummy_prefix = False
    models = vocabulary.model, model_tokenizer.processor(bare.SerializeToString(), 'the model')
    forms = dict[str, list[int]]()
    for word in map(vocabulary.normalized, words):
        for model in models:
            pieces = model.encode_as_pieces(word)
            ids = list(map(model.piece_to_id, pieces))
            if len(ids) > 1 or vocabulary.specials.unk in ids:
                forms[''.join(pieces)] = ids
    for piece, ids in forms.items():
        # So a new piece is better than any other way to split it, such as another new piece.
        score = sum(proto.pieces[i].score for i in ids) + MARGIN * (len(ids) - 1)
        proto.pieces.add(piece=piece, score=score)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    rules = vocabulary.lowercase, vocabulary.strip_accents
    return SentencePiece(proto.SerializeToString(), *rules)


def _added(vocabulary: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """The vocabulary with the words as added tokens.

    The white space before a word belongs to its token, as with the mask. With XLM and FlauBERT, a
    word is found inside other words, too. Otherwise transformers would find it only between spaces,
    and not beside punctuation.
    """
    inner, before = vocabulary, tuple[AddedToken, ...]()
    if isinstance(vocabulary, WithAddedTokens):
        inner, before = vocabulary.inner, vocabulary.added
    whole = inner.kind not in word_bpe.KINDS
    new = [AddedToken(word, lstrip=True, single_word=whole, normalized=True) for word in words]
    return WithAddedTokens(inner, [*before, *new])


KINDS: Mapping[str, Callable[[Any, Sequence[str]], Tokenizer]] = {
    'wordpiece': _word_pieces,
    'sentencepiece': _scored,
}
