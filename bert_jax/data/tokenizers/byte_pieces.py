"""The tokens of byte-level vocabularies, which are strings of bytes.

In the files, each byte is written as a visible character; a space is written as 'Ġ'. See Radford et
al. (2019), section 2.2.
"""

from tokenizers import pre_tokenizers

_CHARS = sorted(pre_tokenizers.ByteLevel.alphabet())
_VISIBLE = [char for char in _CHARS if ord(char) < 256]
# The byte that each character of a vocabulary file stands for.
BYTES = {char: ord(char) for char in _VISIBLE}
# The other bytes have no visible character. They are written, in order, as the characters behind
# U+00FF.
BYTES |= zip(_CHARS[len(_VISIBLE) :], sorted({*range(256)} - {*BYTES.values()}), strict=True)


def is_continuation(piece: str) -> bool:
    """Returns whether the piece continues a word. Punctuation is a word of its own, as in BERT."""
    if piece and BYTES.get(piece[0], 0) & 0xC0 == 0x80:
        return True  # not the first byte of a character
    written = text(piece)
    return not written[:1].isspace() and any(map(str.isalnum, written))


def text(piece: str) -> str:
    """The complete characters of the piece."""
    return bytes(BYTES.get(char, 0) for char in piece).decode('utf-8', 'ignore')
