"""BLEU (Papineni et al., 2002) and chrF (Popović, 2015) of whole files, computed by sacreBLEU."""

import importlib
from collections.abc import Sequence
from typing import Any


def check_installed() -> None:
    """Raises ValueError if sacreBLEU is missing."""
    try:
        importlib.import_module('sacrebleu')
    except ModuleNotFoundError as error:
        raise ValueError(f"scores need sacrebleu: pip install '.[translate]' ({error})") from error


def scores(
    written: Sequence[str], references: Sequence[str], lowercase: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """BLEU and chrF, from 0 to 100, and the signatures of both, which say how they were computed.

    lowercase: whether case is ignored.
    """
    from sacrebleu.metrics import BLEU, CHRF

    metrics: dict[str, Any] = {'bleu': BLEU(lowercase=lowercase), 'chrf': CHRF(lowercase=lowercase)}
    found, signatures = dict[str, float](), dict[str, str]()
    for name, metric in metrics.items():
        found[name] = float(metric.corpus_score(list(written), [list(references)]).score)
        signatures[name] = str(metric.get_signature())
    return found, signatures
