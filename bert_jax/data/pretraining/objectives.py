"""Functions that make the rows of each pretraining objective. The losses are in
`tasks.pretraining.OBJECTIVES`."""

from bert_jax.config import Config
from bert_jax.data.pretraining import lanes
from bert_jax.data.pretraining.pairs import SENTENCE_PAIRS
from bert_jax.data.pretraining.running_text import ACROSS_DOCUMENTS, WITHIN_DOCUMENTS
from bert_jax.data.pretraining.segments import Segmenter
from bert_jax.data.pretraining.sentence_order import SENTENCE_ORDER
from bert_jax.data.pretraining.translations import TRANSLATIONS

# `segmenter_of` replaces ACROSS_DOCUMENTS if config.data.cross_documents is False.
SEGMENTERS: dict[str, Segmenter] = {
    'mlm+nsp': SENTENCE_PAIRS,
    'mlm': ACROSS_DOCUMENTS,
    'distill': ACROSS_DOCUMENTS,
    'mlm+sop': SENTENCE_ORDER,
    'mlm+tlm': ACROSS_DOCUMENTS,  # beside the rows of pairs
    'plm': SENTENCE_PAIRS,  # see `lanes.segmenter`
}


def segmenter_of(config: Config, is_pair: bool = False, training: bool = True) -> Segmenter:
    """Returns the segmenter of config.objective. is_pair: whether rows are translations."""
    if is_pair:
        return TRANSLATIONS
    if config.objective == 'plm':
        return lanes.segmenter(config.model, config.train.phases[0].batch_size, training)
    chosen = SEGMENTERS[config.objective]
    within = chosen is ACROSS_DOCUMENTS and not config.data.cross_documents
    return WITHIN_DOCUMENTS if within else chosen
