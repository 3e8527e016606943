"""Compares the speed of the input pipeline with that of Hugging Face's collator.

    pip install torch transformers
    python tests/parity/bench_input.py --tokens=DIR

Both receive the token ids of the same prepared store. The pipeline makes sentence pairs and masks
tokens; the collator only masks tokens.
"""

import pathlib
import time
from collections.abc import Callable

import numpy as np
import tokenizers
import transformers
from absl import app, flags, logging

from bert_jax.config import Config, DataConfig, Phase, TrainConfig
from bert_jax.data.pretraining import input_pipeline
from bert_jax.data.store import format
from bert_jax.data.tokenizers import tokenizer

SHAPES = (Phase(1 << 40, 128, 256, 20), Phase(1 << 40, 512, 64, 77))
REFERENCE = 'transformers, masks only'
ROUNDS = 5  # the fastest one counts, because other programs may slow the machine down


def ours(directory: pathlib.Path, phase: Phase, whole_words: bool) -> Callable[[], int]:
    """A function that makes the next batch and returns its number of tokens without padding."""
    config = Config(
        train=TrainConfig(phases=(phase,)), data=DataConfig(whole_word_masking=whole_words)
    )
    batches = input_pipeline.train_batches(directory, config, start=0, stop=phase.steps)
    return lambda: int(next(batches)['attention_mask'].sum())


def collator(directory: pathlib.Path, phase: Phase) -> Callable[[], int]:
    """A function that calls DataCollatorForLanguageModeling and returns its number of tokens. Its
    rows have been cut and padded beforehand."""
    words = tokenizer.load(directory, format.read_meta(directory).lowercase)
    vocabulary, names = {piece: i for i, piece in enumerate(words.pieces)}, words.special_pieces
    model = tokenizers.models.WordLevel(vocabulary, unk_token=names.unk)
    collate = transformers.DataCollatorForLanguageModeling(
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizers.Tokenizer(model),
            **{f'{role}_token': piece for role, piece in names.by_role().items()},
        )
    )
    rows, length = phase.batch_size, phase.max_seq_length
    tokens = format.open_store(directory, 'train').tokens[format.GUARD :]
    ids = np.resize(tokens[: rows * length], (rows, length))
    special = [1] + [0] * (length - 2) + [1]
    examples = [{'input_ids': row, 'special_tokens_mask': special} for row in ids.tolist()]

    def make() -> int:
        return collate(examples)['input_ids'].numel()

    return make


def speeds(makers: dict[str, Callable[[], int]], seconds: float) -> dict[str, float]:
    """The best tokens per second of each maker. They run in turns, for `seconds` each in total."""
    best = dict.fromkeys(makers, 0.0)
    for _ in range(ROUNDS):
        for name, make in makers.items():
            tokens, start, elapsed = 0, time.perf_counter(), 0.0
            while elapsed < seconds / ROUNDS:
                tokens += make()
                elapsed = time.perf_counter() - start
            best[name] = max(best[name], tokens / elapsed)
    return best


def main(argv: list[str]) -> None:
    del argv
    directory = pathlib.Path(flags.FLAGS.tokens)
    for phase in SHAPES:
        makers: dict[str, Callable[[], int]] = {
            f'whole_word_masking={whole}': ours(directory, phase, whole) for whole in (False, True)
        }
        makers = {REFERENCE: collator(directory, phase)} | makers
        rates = speeds(makers, flags.FLAGS.seconds)
        print(f'{phase.batch_size} x {phase.max_seq_length}')
        for name, rate in rates.items():
            ratio = rate / rates[REFERENCE]
            print(f'  {name:25} {rate / 1e6:6.2f} million tokens/s, {ratio:.1f} times that')


if __name__ == '__main__':
    flags.DEFINE_string('tokens', None, 'A prepared store.', required=True)
    flags.DEFINE_float('seconds', 5.0, 'For how many seconds each pipeline is measured.')
    logging.set_verbosity(logging.WARNING)
    app.run(main)
