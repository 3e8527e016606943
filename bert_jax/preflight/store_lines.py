"""Lines about a prepared store, which a pretraining run prints when it starts."""

import dataclasses
from collections.abc import Mapping

from bert_jax.config import DataConfig
from bert_jax.config.console import plural
from bert_jax.data.store import format
from bert_jax.tasks import measures

# With less held-out text than this, the loss is noisy. Of 10 documents, a single unusual one is a
# tenth. Of 5,000 tokens, 750 are masked, and their accuracy has a standard error of 2 %.
FEW_DOCUMENTS, FEW_TOKENS = 10, 5000


def split(counts: format.Counts) -> str:
    """The numbers of documents, sentences and tokens of a split."""
    numbers = dataclasses.asdict(counts).items()
    return ', '.join(plural(number, name.removesuffix('s')) for name, number in numbers)


def held_out(counts: format.Counts, data: DataConfig) -> str:
    """Returns a line about the held-out text, with advice if there is little of it."""
    line, few = split(counts), counts.documents < FEW_DOCUMENTS
    if not few and counts.tokens >= FEW_TOKENS:
        return line
    remedy = 'name a text to evaluate on (config.data.eval_corpus)'
    if data.corpus.startswith('tokens:'):
        remedy = 'prepare the text again with a larger --holdout, or with --eval_corpus'
    elif not data.eval_corpus:
        remedy = f'raise config.data.holdout ({data.holdout:g}), or {remedy}'
    return f'{line}. The loss of so {"few documents" if few else "little text"} is noisy: {remedy}'


def vocabulary(tokens: int, rows: int) -> str:
    """Returns a text with the number of tokens and, if it is larger, the number of rows of the
    model's table."""
    return f'{tokens:,} tokens' + (f' (a table of {rows:,} rows)' if rows != tokens else '')


def baselines(entropy: float, counted: Mapping[str, float]) -> str:
    """A line about the baselines, which the model has to exceed, and the unigram entropy."""
    text = f'masked-LM loss {entropy:.3f} nats, the unigram entropy'
    if counted:
        reached = [f'{counted[name]:.1%} {of.phrase}' for name, of in measures.BASELINES.items()]
        text += f'; masked-LM accuracy {", ".join(reached)}'
        if counted['train_share'] < 1:
            text += f' (in a sample of {counted["train_share"]:.2%} of the text)'
    return text
