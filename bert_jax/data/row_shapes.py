"""How many texts the rows of each pretraining objective have. No function needs TensorFlow."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bert_jax.config import Config
from bert_jax.data.row_format import RowFormat, format_of


class RowShape(NamedTuple):
    """The texts of a row.

    segments: the largest number of segments in a row. min_documents: the number of documents that a
    split needs: 2 if the second segment may come from another document. sequences: the number of
    sequences, of equally many segments, in a row.
    """

    segments: int
    min_documents: int = 1
    sequences: int = 1

    def room(self, row_format: RowFormat, length: int) -> int:
        """The number of tokens of text in a row of `length` tokens."""
        specials = row_format.num_specials(self.segments // self.sequences)
        return length - self.sequences * specials


ONE_TEXT, TWO_TEXTS, TWO_DOCUMENTS = RowShape(1), RowShape(2), RowShape(2, min_documents=2)
# By config.objective. Beside its rows of running text, 'mlm+tlm' has rows of TRANSLATIONS.
ROW_SHAPES: Mapping[str, RowShape] = {
    'mlm+nsp': TWO_DOCUMENTS,
    'mlm': ONE_TEXT,
    'distill': ONE_TEXT,
    'mlm+sop': TWO_TEXTS,
    'mlm+tlm': ONE_TEXT,
    'plm': TWO_DOCUMENTS,
}
TRANSLATIONS = RowShape(2, sequences=2)


def too_few_places(rate: float, places: int, room: int) -> str:
    """A warning if a row with `room` tokens of text has fewer places for masked tokens than the
    masking rate needs; otherwise ''."""
    wanted = int(room * rate + 0.5)
    if wanted <= places:
        return ''
    return (
        f'{rate:.0%} of {room} tokens are {wanted} masked tokens, but '
        f'max_predictions_per_seq is {places}, so fewer are masked; raise it in config.train.phases'
    )


def warnings(config: Config) -> Iterator[str]:
    """Yields a warning for each phase whose rows have too few places for masked tokens."""
    row_format, shape = format_of(config.model), ROW_SHAPES[config.objective]
    for i, phase in enumerate(config.train.phases):
        rate = phase.masked_lm_prob or config.data.masked_lm_prob
        room = shape.room(row_format, phase.max_seq_length)
        if few := too_few_places(rate, phase.max_predictions_per_seq, room):
            yield f'phase {i + 1}: {few}'
