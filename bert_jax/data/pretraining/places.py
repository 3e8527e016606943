"""The places that a row has for masked tokens, compared with the masking rate."""

from collections.abc import Iterator

from bert_jax.config import Config
from bert_jax.data.row_format import format_of

PAIRS = ('mlm+nsp', 'mlm+sop', 'plm')  # objectives whose rows have two texts


def too_few(rate: float, places: int, room: int) -> str:
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
    row_format = format_of(config.model)
    segments = 2 if config.objective in PAIRS else 1
    for i, phase in enumerate(config.train.phases):
        rate = phase.masked_lm_prob or config.data.masked_lm_prob
        room = row_format.room(segments, phase.max_seq_length)
        if few := too_few(rate, phase.max_predictions_per_seq, room):
            yield f'phase {i + 1}: {few}'
