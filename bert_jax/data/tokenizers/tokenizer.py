"""Loads tokenizers. All kinds of vocabularies have one interface, `Tokenizer`."""

from collections.abc import Callable

from etils import epath

from bert_jax.data.tokenizers import wordpiece_vocabulary
from bert_jax.data.tokenizers.base import Tokenizer as Tokenizer
from bert_jax.data.tokenizers.sentencepiece_model import SentencePiece
from bert_jax.data.tokenizers.specials import BERT
from bert_jax.data.tokenizers.wordpiece_vocabulary import WordPiece as WordPiece
from bert_jax.data.tokenizers.wordpiece_vocabulary import train as train

# The names that the vocabulary file of a folder may have, and their readers. The first file that
# exists is read.
READERS: dict[str, Callable[[epath.Path, bool], Tokenizer]] = {
    'vocab.txt': wordpiece_vocabulary.read,
    'tokenizer.model': SentencePiece,
    'spiece.model': SentencePiece,
}
FILES = tuple(READERS)
SPECIALS = BERT.all()


def find(directory: epath.PathLike) -> epath.Path | None:
    """The vocabulary file of a folder, None if there is none."""
    paths = [epath.Path(directory) / name for name in FILES]
    return next((path for path in paths if path.exists()), None)


def load(path: epath.PathLike, lowercase: bool = True) -> Tokenizer:
    """The vocabulary in a file or in a folder, both local or behind a URL.

    A file of another name than FILES is a SentencePiece model if it ends in .model, and a list of
    WordPiece tokens otherwise. Raises ValueError if it is neither, or if it lacks a special token.
    """
    path = epath.Path(path)
    file = find(path) if path.is_dir() else path
    if file is None:
        raise ValueError(f'{path} has no {", ".join(FILES[:-1])} or {FILES[-1]}')
    if not file.exists():
        raise ValueError(f'vocabulary {file} does not exist')
    default = SentencePiece if file.suffix == '.model' else wordpiece_vocabulary.read
    return READERS.get(file.name, default)(file, lowercase)
