"""Measures how much a translation helps a model trained with mlm+tlm to predict masked words.

    python tests/parity/translations.py --workdir=runs/tlm --first=test.en.gz --second=test.fr.gz

The two files have a sentence on each line, of the first two languages of the run. Words of one
sentence are masked and predicted three times: beside its translation, beside the sentence of
another pair, and alone. It prints the loss in nats and the accuracy.
"""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags, logging

from bert_jax.data import files
from bert_jax.data.row_format import ROW_FORMATS
from bert_jax.data.text import languages
from bert_jax.inference import model_dir
from bert_jax.models.inputs import EncoderInputs
from bert_jax.tasks.losses import accuracy, cross_entropy

RATE, PAIRS, LENGTH = 0.15, 500, 64
Ids = Sequence[int]


def row(
    model: model_dir.Pretrained,
    sides: tuple[Ids, Ids],
    numbers: Sequence[int],
    masked: int,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The arrays of a row [LENGTH], with masks in the sentence `masked` (0 or 1). numbers: those of
    the languages of the two sentences."""
    form, specials = ROW_FORMATS[model.config.model_type], model.vocabulary.specials
    arrays = {name: np.zeros(LENGTH, np.int32) for name in ('types', 'positions', 'side')}
    ids = np.full(LENGTH, specials.pad)
    labels, weights, first = np.zeros(LENGTH, np.int32), np.zeros(LENGTH, np.float32), 0
    for side, text in enumerate(sides):
        sequence, _ = form.row([list(text)], specials)
        places = slice(first, first + len(sequence))
        ids[places], arrays['positions'][places] = sequence, np.arange(len(sequence))
        arrays['types'][places], arrays['side'][places] = numbers[side], side + 1
        if side == masked:
            count = max(round(RATE * len(text)), 1)
            chosen = first + 1 + random.choice(len(text), count, replace=False)
            labels[chosen], weights[chosen] = ids[chosen], 1
            ids[chosen] = specials.mask
        first += len(sequence)
    return {**arrays, 'ids': ids, 'labels': labels, 'weights': weights}


def measured(model: model_dir.Pretrained, rows: list[dict], hidden: int | None) -> tuple:
    """(loss, accuracy). hidden: the sentence that tokens cannot attend to, or None."""
    batch = {name: np.stack([one[name] for one in rows]) for name in rows[0]}
    side = batch['side']
    attended = (side > 0) & (side != (0 if hidden is None else hidden + 1))
    types = batch['types'] if model.config.has_types else None
    inputs = EncoderInputs(batch['ids'], types, batch['positions'], attended.astype(np.int32))
    places = np.tile(np.arange(LENGTH), (len(rows), 1))
    outputs = jax.jit(model.model.apply)({'params': model.params}, inputs, places)
    scored = outputs['prediction_logits'], batch['labels'], batch['weights']
    sums = cross_entropy(*scored), accuracy(*scored)
    return tuple(float(total / count) for total, count in sums)


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.ERROR)
    model = model_dir.load(FLAGS.workdir)
    names = languages.numbered(languages.names_of(model.data))[:2]
    known = model.config.language_names or names  # older workdirs do not name them
    numbers = [known.index(name) for name in names]
    texts = [list(files.lines(pathlib.Path(path))) for path in (FLAGS.first, FLAGS.second)]
    encoded = [
        model.vocabulary.for_language(name).encode_batch(lines)
        for name, lines in zip(names, texts, strict=True)
    ]
    pairs = [pair for pair in zip(*encoded, strict=True) if 0 < sum(map(len, pair)) <= LENGTH - 4]
    pairs = pairs[:PAIRS]
    for masked, name in enumerate(names):
        others = [pair[1 - masked] for pair in pairs[1:] + pairs[:1]]
        strange = [
            (pair[0], other) if masked == 0 else (other, pair[1])
            for pair, other in zip(pairs, others, strict=True)
        ]
        fits = [i for i, pair in enumerate(strange) if sum(map(len, pair)) <= LENGTH - 4]
        made = [
            [row(model, kind[i], numbers, masked, np.random.default_rng(i)) for i in fits]
            for kind in (pairs, strange)
        ]
        for kind, rows, hidden in (
            ('beside its translation', made[0], None),
            ('beside another sentence', made[1], None),
            ('alone', made[0], 1 - masked),
        ):
            loss, right = measured(model, rows, hidden)
            print(f'{name}, {kind:23} {loss:.3f} nats, {right:.1%} right, {len(rows)} pairs')


if __name__ == '__main__':
    FLAGS = flags.FLAGS
    flags.DEFINE_string('workdir', None, 'A run of mlm+tlm.', required=True)
    flags.DEFINE_string('first', None, 'Sentences of the first language.', required=True)
    flags.DEFINE_string('second', None, 'Their translations.', required=True)
    app.run(main)
