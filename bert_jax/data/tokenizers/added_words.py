"""Adds words to a vocabulary, for text with special words (config.data.add_tokens).

The new tokens are at the end of the vocabulary, so that the ids of all other tokens stay the same.
How a word becomes a token depends on the kind of vocabulary:

- WordPiece: the word is added to the list of tokens.
- BPE: merges are added that join the former pieces of the word, from left to right. They come after
  all other merges, so other words keep their tokens, unless they contain the new ones.
- SentencePiece: the word is added with a score that is higher than that of its former pieces.
- tokenizer.json: the word is an added token, which is searched for in the text.
"""

import itertools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tokenizers

from bert_jax.data.tokenizers import (
    byte_bpe,
    model_tokenizer,
    sentencepiece_model,
    tokenizer,
    tokenizer_json,
)
from bert_jax.data.tokenizers.added_tokens import WithAddedTokens
from bert_jax.data.tokenizers.base import Tokenizer
from bert_jax.data.tokenizers.wordpiece_vocabulary import VOCABULARY

MARGIN = 1.0  # what the score of a new piece gains for each former piece that it joins
NAME = 'config.data.add_tokens'


class Larger(NamedTuple):
    """A larger vocabulary. files: the content of its files by name. former: for each new token, in
    the order of their ids, the ids of the pieces into which the old vocabulary splits it."""

    files: dict[str, bytes]
    former: list[tuple[int, ...]]


def read(value: str) -> list[str]:
    """The words of config.data.add_tokens: a file with a word on each line, or words between
    commas. Raises ValueError if there are none."""
    path = pathlib.Path(value).expanduser()
    parts = path.read_text('utf-8').split('\n') if path.is_file() else value.split(',')
    words = list(dict.fromkeys(word.strip() for word in parts if word.strip()))
    if not words:
        raise ValueError(f'{NAME}={value} has no words')
    return words


def larger(vocabulary: Tokenizer, words: Sequence[str]) -> Larger:
    """The vocabulary with the words at its end. Raises ValueError if a word cannot be added."""
    if vocabulary.kind not in KINDS:
        has_tokens = isinstance(vocabulary, WithAddedTokens)
        reason = 'has added tokens already' if has_tokens else 'has its mask token at the end'
        raise ValueError(
            f'{NAME} does not work with this vocabulary (kind {vocabulary.kind}), because it '
            f'{reason}; add the words with transformers (tokenizer.add_tokens and '
            'model.resize_token_embeddings), save both, and start from that folder'
        )
    for word, ids in zip(words, vocabulary.encode_words(words), strict=True):
        if len(ids) == 1 and ids != [vocabulary.specials.unk]:
            raise ValueError(f'{NAME}: {word!r} is in the vocabulary already')
        if vocabulary.lowercase and word != word.lower():
            raise ValueError(f'{NAME}: {word!r} has capital letters, but text is lowercased')
    return KINDS[vocabulary.kind](vocabulary, words)


def save(vocabulary: Tokenizer, words: Sequence[str], folder: pathlib.Path) -> None:
    """Writes the vocabulary with the words at its end. Raises ValueError as `larger` does, and if a
    word would never be one token, because text is split at spaces and punctuation first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in larger(vocabulary, words).files.items():
        (folder / name).write_bytes(content)
    made = tokenizer.load(folder, vocabulary.lowercase, vocabulary.strip_accents)
    for word, ids in zip(words, made.encode_words(words), strict=True):
        if len(ids) != 1 or ids[0] < vocabulary.vocab_size:
            raise ValueError(
                f'{NAME}: {word!r} cannot be one token, because text is split at spaces, '
                'punctuation and accents first'
            )


def _word_pieces(vocabulary: Any, words: Sequence[str]) -> Larger:
    lines = vocabulary.files[VOCABULARY].removesuffix(b'\n') + b'\n'
    lines += ''.join(f'{word}\n' for word in words).encode()
    former = [tuple(ids) for ids in vocabulary.encode_batch(words)]
    return Larger({**vocabulary.files, VOCABULARY: lines}, former)


def _merged(vocabulary: Any, words: Sequence[str]) -> Larger:
    """A BPE vocabulary. Joining n pieces takes n - 1 merges, each with a token."""
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    ranks = {(a, b): rank for rank, (a, b) in enumerate(vocabulary.merges)}
    parts: dict[int, tuple[int, ...]] = {i: (i,) for i in ids.values()}
    count = len(ranks)
    # Byte-level vocabularies have other tokens for a word at the beginning of a text.
    forms = [f'{space}{word}' for word in words for space in dict.fromkeys((vocabulary.space, ''))]
    for form, old in zip(forms, vocabulary.encode_batch(forms), strict=True):
        if vocabulary.specials.unk in old:
            raise ValueError(f'{NAME}: {form!r} has characters that the vocabulary does not have')
        pieces = [vocabulary.pieces[i] for i in old]
        while len(pieces) > 1:
            pair = min(itertools.pairwise(pieces), key=lambda pair: ranks.get(pair, len(ranks)))
            first, second = pair
            if pair not in ranks:
                ranks[pair] = len(ranks)
                new = ids.setdefault(first + second, len(ids))
                parts.setdefault(new, parts[ids[first]] + parts[ids[second]])
            pieces = _joined(pieces, pair)
    added = list(ranks)[count:]
    merges = vocabulary.files[byte_bpe.MERGES].removesuffix(b'\n') + b'\n'
    merges += ''.join(f'{a} {b}\n' for a, b in added).encode()
    table = json.dumps(ids, ensure_ascii=False).encode()
    files = {**vocabulary.files, byte_bpe.VOCABULARY: table, byte_bpe.MERGES: merges}
    return Larger(files, [parts[i] for i in range(vocabulary.vocab_size, len(ids))])


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces, in which each occurrence of the pair is one piece."""
    result, i = list[str](), 0
    while i < len(pieces):
        both = tuple(pieces[i : i + 2]) == pair
        result.append(''.join(pieces[i : i + 1 + both]))
        i += 1 + both
    return result


def _scored(vocabulary: Any, words: Sequence[str]) -> Larger:
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
    rules = vocabulary.lowercase, vocabulary.removes_accents
    former = dict[str, tuple[int, ...]]()
    for word in words:
        text = sentencepiece_model.normalized(word, *rules)
        for model in models:
            pieces = model.encode_as_pieces(text)
            ids = tuple(map(model.piece_to_id, pieces))
            if len(ids) > 1 or vocabulary.specials.unk in ids:
                former[''.join(pieces)] = ids
    for piece, ids in former.items():
        # So a new piece is better than any other way to split it, such as another new piece.
        score = sum(proto.pieces[i].score for i in ids) + MARGIN * (len(ids) - 1)
        proto.pieces.add(piece=piece, score=score)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    files = {**vocabulary.files, model_tokenizer.MODEL: proto.SerializeToString()}
    return Larger(files, list(former.values()))


def _added(vocabulary: Any, words: Sequence[str]) -> Larger:
    """A tokenizer.json. The white space before a word belongs to its token, as with the mask."""
    made = tokenizers.Tokenizer.from_str(vocabulary.files[tokenizer_json.FILE].decode())
    rules = {'single_word': True, 'lstrip': True, 'normalized': vocabulary.lowercase}
    made.add_tokens([tokenizers.AddedToken(word, **rules) for word in words])
    former = [tuple(ids) for ids in vocabulary.encode_words(words)]
    return Larger({**vocabulary.files, tokenizer_json.FILE: made.to_str().encode()}, former)


KINDS: Mapping[str, Callable[[Any, Sequence[str]], Larger]] = {
    'wordpiece': _word_pieces,
    'byte_bpe': _merged,
    'xlm_bpe': _merged,
    'flaubert_bpe': _merged,
    'sentencepiece': _scored,
    'tokenizer_json': _added,
}
