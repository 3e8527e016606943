"""Times the input pipeline beside Hugging Face's masking collator, in turn, on the same token ids.

    pip install torch transformers
    python -m bert_jax.data.benchmark --tokens=DIR

Ours draws sentence pairs, cuts them, masks them and hands them over as numpy arrays, with its own
threads; DataCollatorForLanguageModeling masks rows that were cut beforehand, in one process. So
tokens per second of CPU time stand beside tokens per second. Without the two packages only ours is
timed. Tokens are real ones: padding does not count.
"""

import importlib
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import app, flags, logging

from bert_jax.config import Config, DataConfig, Phase, TrainConfig
from bert_jax.data import store, tokenizer

TOKENS = flags.DEFINE_string('tokens', None, 'A prepared store.', required=True)
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Times each side is timed; the median counts.')
SECONDS = flags.DEFINE_float('seconds', 2.0, 'How long each of them takes.')
SHAPES = (Phase(10**9, 128, 256, 20), Phase(10**9, 512, 64, 77))


def our_batches(
    directory: pathlib.Path, phase: Phase, whole_words: bool = False
) -> Iterator[dict[str, np.ndarray]]:
    from bert_jax.data import pretrain

    config = Config(
        data=DataConfig(whole_word_masking=whole_words), train=TrainConfig(phases=(phase,))
    )
    return iter(pretrain.train_batches(directory, config, start=0, stop=phase.steps))


def collated_batches(directory: pathlib.Path, phase: Phase) -> Iterator[dict[str, Any]]:
    """The store's tokens in full rows, [CLS] ... [SEP], through Hugging Face's collator."""
    import tokenizers
    import transformers

    ours = tokenizer.load(directory, store.read_meta(directory).lowercase)
    vocabulary = tokenizers.models.WordLevel(
        {piece: i for i, piece in enumerate(ours.pieces)}, unk_token=ours.pieces[ours.unk_id]
    )
    collator = transformers.DataCollatorForLanguageModeling(
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizers.Tokenizer(vocabulary),
            pad_token=ours.pieces[ours.pad_id],
            mask_token=ours.pieces[ours.mask_id],
        )
    )
    length, rows = phase.max_seq_length, phase.batch_size
    text = np.asarray(store.open_store(directory, 'train').tokens[store.GUARD : -store.GUARD])
    text = text[: len(text) // (length - 2) * (length - 2)].reshape(-1, length - 2).astype(int)
    special = [1] + [0] * (length - 2) + [1]
    examples = [
        {'input_ids': [ours.cls_id, *row, ours.sep_id], 'special_tokens_mask': special}
        for row in np.resize(text, (16 * rows, length - 2)).tolist()
    ]
    first = 0
    while True:
        # The collator takes fields out of what it is given.
        yield collator([dict(example) for example in examples[first : first + rows]])
        first = (first + rows) % len(examples)


def timed(batches: Iterator[dict[str, Any]], seconds: float) -> tuple[float, float]:
    """Real tokens per second and per second of CPU time."""
    begin, cpu, tokens = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() < begin + seconds:
        tokens += int(next(batches)['attention_mask'].sum())
    return tokens / (time.perf_counter() - begin), tokens / (time.process_time() - cpu)


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {" ".join(argv[1:])}')
    logging.set_verbosity(logging.WARNING)
    directory = pathlib.Path(TOKENS.value)
    sides: dict[str, Callable[[Phase], Iterator[dict[str, Any]]]] = {
        'pairs and masks': lambda phase: our_batches(directory, phase),
        'pairs and whole-word masks': lambda phase: our_batches(directory, phase, True),
    }
    try:
        for package in ('torch', 'transformers'):
            importlib.import_module(package)
        sides['HF collator, masks'] = lambda phase: collated_batches(directory, phase)
    except ImportError as error:
        print(f'ours only ({error}); to compare: pip install torch transformers', file=sys.stderr)
    print(f'{os.cpu_count()} cores; million tokens a second (of CPU time)')
    for phase in SHAPES:
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(ROUNDS.value):
            for name, make in sides.items():
                # Made anew each time, so that ours don't work ahead while the other is timed.
                batches = make(phase)
                for _ in range(20):
                    next(batches)
                rates[name].append(timed(batches, SECONDS.value))
                del batches
        medians = {
            name: [statistics.median(r) for r in zip(*rates[name], strict=True)] for name in sides
        }
        slowest = min(medians.values())[0]
        for name, (wall, cpu) in medians.items():
            print(
                f'{phase.batch_size:4} x {phase.max_seq_length}  {name:28} {wall / 1e6:6.2f} '
                f'({cpu / 1e6:6.2f})  {wall / slowest:5.1f} times'
            )


if __name__ == '__main__':
    app.run(main)
