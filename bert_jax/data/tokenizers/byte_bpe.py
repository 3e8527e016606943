"""Byte-level BPE vocabularies of RoBERTa: vocab.json and merges.txt.

See Liu et al. (2019), section 4.4. A token is a string of bytes; see `byte_pieces`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
from etils import epath
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from bert_jax.data.tokenizers.base import marker
from bert_jax.data.tokenizers.byte_pieces import BYTES
from bert_jax.data.tokenizers.fast_tokenizer import FastTokenizer, by_id, trained
from bert_jax.data.tokenizers.specials import FAIRSEQ, find_specials

VOCABULARY, MERGES = 'vocab.json', 'merges.txt'
SMALLEST = 256 + len(set(FAIRSEQ.all()))  # tokens of a trained vocabulary
Merges = Sequence[tuple[str, str]]


class ByteBPE(FastTokenizer):
    """RoBERTa's tokenizer. It has a token for every byte, so that no text is unknown.

    ids: the tokens' ids. merges: the pairs of tokens that are joined, in the order of their
    priority. add_prefix_space: whether a space is put in front of each text. specials: the special
    tokens by role, for roles whose token `find_specials` would not find. Raises ValueError naming
    `source` if the vocabulary is not complete.
    """

    kind = 'byte_bpe'

    def __init__(
        self,
        ids: Mapping[str, int],
        merges: Merges,
        lowercase: bool = False,
        add_prefix_space: bool = False,
        specials: Mapping[str, str] | None = None,
        source: object = 'the vocabulary',
    ):
        pieces = by_id(ids, source)
        roles = find_specials(pieces, source, 'give the names of the special tokens', specials)
        self.merges, self.add_prefix_space = merges, add_prefix_space
        try:
            model = models.BPE(dict(ids), list(merges))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f'{source}: {MERGES} does not fit {VOCABULARY} ({error})') from error
        options = {'lowercase': lowercase, 'add_prefix_space': add_prefix_space}
        files = bpe_files(pieces, [('#version:', '0.2'), *merges])
        files |= marker(self.kind, specials, **options)
        super().__init__(_byte_tokenizer(model, **options), pieces, roles, files, lowercase)


def bpe_files(pieces: Sequence[str], lines: Merges) -> dict[str, bytes]:
    """The content of vocab.json and merges.txt by name. lines: those of merges.txt."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = ''.join(f'{one} {other}\n' for one, other in lines)
    return {VOCABULARY: json.dumps(ids, ensure_ascii=False).encode(), MERGES: merges.encode()}


def read_files(folder: epath.Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The tokens' ids in vocab.json and the pairs in merges.txt.

    Raises ValueError if a file is missing or has another format.
    """
    for name in (VOCABULARY, MERGES):
        if not (folder / name).exists():
            raise ValueError(f'{folder} has no {name}; a BPE vocabulary is {VOCABULARY} + {MERGES}')
    try:
        ids = json.loads((folder / VOCABULARY).read_text('utf-8'))
        if not isinstance(ids, dict) or not all(isinstance(i, int) for i in ids.values()):
            raise ValueError('expected an object with a number for each token')
    except ValueError as error:
        raise ValueError(f'{folder / VOCABULARY} is not a vocabulary ({error})') from error
    merges = []
    for number, line in enumerate((folder / MERGES).read_text('utf-8').split('\n'), 1):
        if not line or (number == 1 and line.startswith('#version')):
            continue
        pair = line.removesuffix('\r').split(' ')[:2]  # in XLM, a count follows the pair
        if len(pair) < 2:
            raise ValueError(f'{folder / MERGES}: line {number} is {line!r}, expected two tokens')
        merges.append((pair[0], pair[1]))
    return ids, merges


def read(folder: epath.Path, **options: Any) -> ByteBPE:
    """The vocabulary in a folder. Raises ValueError if it is not one."""
    ids, merges = read_files(folder)
    if any(piece.endswith('</w>') for piece in ids):
        raise ValueError(
            f'{folder / VOCABULARY} marks the ends of words by </w>, as XLM and FlauBERT do, and '
            'nothing in the folder says which of the two it is. Convert the Hugging Face folder '
            'with bert_jax convert, and give the converted one'
        )
    return ByteBPE(ids, merges, source=folder, **options)


def train(
    texts: Sequence[str], vocab_size: int, lowercase: bool, strip_accents: bool | None = None
) -> ByteBPE:
    """A vocabulary of at most `vocab_size` tokens, learned from `texts`, in RoBERTa's layout.

    The same texts give the same vocabulary in every process. Raises ValueError if `vocab_size` is
    smaller than the number of bytes and special tokens, and if `strip_accents` is true.
    """
    check_accents('byte_bpe', lowercase, strip_accents)
    if not any(texts):
        raise ValueError('the corpus has no text to train a vocabulary on')
    if vocab_size < SMALLEST:
        raise ValueError(
            f'a byte-level vocabulary of {vocab_size} tokens is too small: the 256 bytes and the '
            f'special tokens are {SMALLEST}; raise the vocabulary size (config.model.vocab_size)'
        )
    backend = _byte_tokenizer(models.BPE(), lowercase, add_prefix_space=False)
    first = ['<s>', '<pad>', '</s>', '<unk>']
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,  # the mask token is the last one
        min_frequency=2,
        special_tokens=first,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model = trained(backend, trainer, texts)
    ids = {**model['vocab'], FAIRSEQ.mask: len(model['vocab'])}
    return ByteBPE(ids, [(a, b) for a, b in model['merges']], lowercase)


def check_accents(kind: str, lowercase: bool, strip_accents: bool | None) -> None:
    """Raises ValueError if `strip_accents` differs from what BPE models of this kind do."""
    usual = lowercase and kind == 'xlm_bpe'
    if strip_accents not in (None, usual):
        raise ValueError(
            f'config.data.strip_accents is {strip_accents}, but with config.data.tokenizer={kind} '
            f'and config.data.lowercase={lowercase} it is always {usual}; set it to auto'
        )


def _byte_tokenizer(
    model: models.BPE, lowercase: bool, add_prefix_space: bool
) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def single_bytes() -> ByteBPE:
    """Returns a vocabulary of single bytes and special tokens, to which no text is unknown."""
    pieces = dict.fromkeys([*FAIRSEQ.all(), *BYTES])
    return ByteBPE({piece: i for i, piece in enumerate(pieces)}, [])
