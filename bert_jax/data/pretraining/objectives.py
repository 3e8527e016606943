"""Functions that make the rows of each pretraining objective. The losses are in
`tasks.pretraining.OBJECTIVES`."""

from bert_jax.config import Config
from bert_jax.data.pretraining import lanes
from bert_jax.data.pretraining.pairs import SENTENCE_PAIRS
from bert_jax.data.pretraining.running_text import ACROSS_DOCUMENTS, WITHIN_DOCUMENTS
from bert_jax.data.pretraining.segments import Segmenter
from bert_jax.data.pretraining.sentence_order import SENTENCE_ORDER
from bert_jax.data.pretraining.translations import TRANSLATIONS

RUNNING_TEXT = {True: ACROSS_DOCUMENTS, False: WITHIN_DOCUMENTS}
# The keys: config.objective, and whether a row may have text of several documents.
SEGMENTERS: dict[str, dict[bool, Segmenter]] = {
    'mlm+nsp': dict.fromkeys((True, False), SENTENCE_PAIRS),
    'mlm': RUNNING_TEXT,
    'distill': RUNNING_TEXT,
    'mlm+sop': dict.fromkeys((True, False), SENTENCE_ORDER),
    'mlm+tlm': RUNNING_TEXT,  # beside the rows of pairs
    'plm': dict.fromkeys((True, False), SENTENCE_PAIRS),  # see `lanes.segmenter`
}


def segmenter_of(config: Config, is_pair: bool = False, training: bool = True) -> Segmenter:
    """Returns the segmenter of config.objective. is_pair: whether rows are translations."""
    if is_pair:
        return TRANSLATIONS
    if config.objective == 'plm':
        return lanes.segmenter(config.model, config.train.phases[0].batch_size, training)
    return SEGMENTERS[config.objective][config.data.cross_documents]
