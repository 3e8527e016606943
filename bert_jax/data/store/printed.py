"""Prints a summary of a prepared store."""

import dataclasses
import pathlib

import rich.table

from bert_jax.data import progress
from bert_jax.data.store import baselines, format


def print_summary(directory: pathlib.Path, meta: format.StoreMeta) -> None:
    """Prints the sizes of the splits, and what was read and left out."""
    table = rich.table.Table('split', 'documents', 'sentences', 'tokens', title=str(directory))
    for split, counts in meta.counts.items():
        table.add_row(split, *(f'{n:,}' for n in dataclasses.astuple(counts)))
    console = progress.console()
    console.print(table)
    lines = [
        f'{meta.vocab_size:,} tokens in the vocabulary; fingerprint {meta.fingerprint}',
        f'{meta.unigram_entropy:.3f} nats: the unigram entropy; the masked-LM loss should be lower',
        *(f'{count:,} {what}' for what, count in meta.summary.items()),
    ]
    if meta.baselines:
        shares = ', '.join(f'{meta.baselines[name]:.1%} {name}' for name in baselines.NAMES)
        lines.insert(2, f'accuracy by counting: {shares}')
    for line in lines:
        console.print(progress.shortened(line), markup=False)
