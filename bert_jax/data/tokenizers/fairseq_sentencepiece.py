"""SentencePiece models with fairseq's token ids: XLM-RoBERTa and CamemBERT
(sentencepiece.bpe.model).

fairseq assigns its own ids: its special tokens come first, and the mask is the last token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from bert_jax.data.tokenizers.base import Span, Tokenizer, marker, trimmed
from bert_jax.data.tokenizers.sentencepiece_model import (
    MODEL,
    is_continuation,
    processor,
    whole_characters,
)
from bert_jax.data.tokenizers.specials import FAIRSEQ, find_specials

PUBLISHED = 'sentencepiece.bpe.model'
# The tokens in front of the model's tokens, by kind. Each of the model's first three tokens (<unk>,
# <s>, </s>) that is among them has no second id.
FIRST = {
    'xlm_roberta': ('<s>', '<pad>', '</s>', '<unk>'),
    'camembert': ('<s>NOTUSED', '<pad>', '</s>NOTUSED', '<unk>', '<unk>NOTUSED', '<s>', '</s>'),
}
SPECIALS = 3  # the number of special tokens at the start of each model


class FairseqSentencePiece(Tokenizer):
    """The tokenizer of XLM-RoBERTa or CamemBERT. Text is not normalized before the model receives
    it.

    content: the model file. kind: an entry of FIRST. Raises ValueError naming `source` if it is not
    such a model.
    """

    def __init__(
        self,
        content: bytes,
        kind: str,
        specials: Mapping[str, str] | None = None,
        source: object = 'the vocabulary',
    ):
        self.kind, self.model = kind, processor(content, source)
        theirs = [self.model.id_to_piece(i) for i in range(self.model.get_piece_size())]
        if theirs[:SPECIALS] != ['<unk>', '<s>', '</s>']:
            raise ValueError(
                f'{source} begins with the tokens {" ".join(theirs[:SPECIALS])}; the models of '
                'XLM-RoBERTa and CamemBERT begin with <unk> <s> </s>'
            )
        pieces = [*FIRST[kind], *theirs[SPECIALS:], FAIRSEQ.mask]
        self._offset = len(FIRST[kind]) - SPECIALS
        roles = find_specials(
            pieces, source, 'fairseq adds them', {**FAIRSEQ.by_role(), **(specials or {})}
        )
        special = set(roles.all())
        continues = [i not in special and is_continuation(p) for i, p in enumerate(pieces)]
        options: dict[str, Any] = {'specials': dict(specials)} if specials else {}
        files = {MODEL: content, **marker(kind, **options)}
        super().__init__(pieces, roles, np.array(continues), files, lowercase=False)

    def _fairseq_ids(self, ids: Sequence[int]) -> list[int]:
        return [i + self._offset if i >= SPECIALS else self.specials.unk for i in ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._fairseq_ids(ids) for ids in self.model.encode(list(texts), num_threads=-1)]

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        encoded = self.model.encode(list(texts), return_type='offset_mapping', num_threads=-1)
        result = []
        for text, tokens in zip(texts, encoded, strict=True):
            spans = whole_characters(tokens['pieces'], tokens['offsets'])
            result.append((self._fairseq_ids(tokens['ids']), trimmed(text, spans)))
        return result

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids. Special tokens are left out, except unknown ones."""
        theirs = {i: i - self._offset for i in range(len(FIRST[self.kind]), self.vocab_size - 1)}
        theirs[self.specials.unk] = 0
        return self.model.decode([theirs[i] for i in ids if i in theirs])


def read(folder: epath.Path, kind: str, **options: Any) -> FairseqSentencePiece:
    """The vocabulary in a folder. Raises ValueError if there is none."""
    path = next((p for n in (MODEL, PUBLISHED) if (p := folder / n).exists()), None)
    if path is None:
        raise ValueError(f'{folder} has no {MODEL} or {PUBLISHED}')
    return FairseqSentencePiece(path.read_bytes(), kind, source=path, **options)
