"""SentencePiece models with fairseq's token ids: XLM-RoBERTa and CamemBERT
(sentencepiece.bpe.model).

fairseq assigns its own ids: its special tokens come first, and the mask is the last token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from bert_jax.data.tokenizers.base import marker
from bert_jax.data.tokenizers.model_tokenizer import MODEL, ModelTokenizer, pieces_of, processor
from bert_jax.data.tokenizers.specials import FAIRSEQ, find_specials

PUBLISHED = 'sentencepiece.bpe.model'
# The tokens in front of the model's tokens, by kind. Each of the model's first three tokens (<unk>,
# <s>, </s>) that is among them has no second id.
FIRST = {
    'xlm_roberta': ('<s>', '<pad>', '</s>', '<unk>'),
    'camembert': ('<s>NOTUSED', '<pad>', '</s>NOTUSED', '<unk>', '<unk>NOTUSED', '<s>', '</s>'),
}
SPECIALS = 3  # the number of special tokens at the start of each model


class FairseqSentencePiece(ModelTokenizer):
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
        self.kind, model = kind, processor(content, source)
        theirs = pieces_of(model)
        if theirs[:SPECIALS] != ['<unk>', '<s>', '</s>']:
            raise ValueError(
                f'{source} begins with the tokens {" ".join(theirs[:SPECIALS])}; the models of '
                'XLM-RoBERTa and CamemBERT begin with <unk> <s> </s>'
            )
        pieces = [*FIRST[kind], *theirs[SPECIALS:], FAIRSEQ.mask]
        roles = find_specials(
            pieces, source, 'fairseq adds them', {**FAIRSEQ.by_role(), **(specials or {})}
        )
        own_ids = [roles.unk] * SPECIALS + [*range(len(FIRST[kind]), len(pieces) - 1)]
        files = {MODEL: content, **marker(kind, specials)}
        super().__init__(model, [(i,) for i in own_ids], pieces, roles, files, lowercase=False)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids. Special tokens are left out, except unknown ones."""
        # The special tokens of the model are unknown here. Its first one, <unk>, stands for them.
        theirs = {own: i for i, (own,) in enumerate(self.own_ids) if not 0 < i < SPECIALS}
        return self.model.decode([theirs[i] for i in ids if i in theirs])


def read(folder: epath.Path, kind: str, **options: Any) -> FairseqSentencePiece:
    """The vocabulary in a folder. Raises ValueError if there is none."""
    path = next((p for n in (MODEL, PUBLISHED) if (p := folder / n).exists()), None)
    if path is None:
        raise ValueError(f'{folder} has no {MODEL} or {PUBLISHED}')
    return FairseqSentencePiece(path.read_bytes(), kind, source=path, **options)
