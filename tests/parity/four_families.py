"""Trains small models of four families for the same CPU time, and compares them.

    python tests/parity/four_families.py --corpus=articles.txt.gz --workdir=runs/families \\
        --seconds=1200

The corpus is a text file with a blank line between documents; every 40th document is held out. All
models see lowercased text and have vocabularies of the same size. The number of steps of a model is
the one that fits into --seconds of CPU time, with the start, compilation and evaluation; two short
runs measure it. The student of the DistilBERT-like model has half of the layers, and its teacher is
the BERT-like model, whose training is not counted again.

The table has the loss on held-out text in nats a character: 15 % of the tokens are masked, single
tokens for all models, and the sum of their losses is divided by the number of characters for which
these tokens stand, without spaces. So models with different vocabularies can be compared. It also
has the loss in nats a token, the share of unknown tokens among the masked ones, the number of
parameters, the steps, the CPU seconds that they took and the tokens a second. The curves are in
WORKDIR/families.png.
"""

import json
import pathlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

from bert_jax.data import files, model_languages
from bert_jax.inference import model_dir
from bert_jax.models.inputs import EncoderInputs

RATE, LENGTH, ROWS, HELD_OUT = 0.15, 64, 32, 40
PILOTS = (50, 250)  # steps of the runs that measure the CPU time of a step
SHAPE = {
    'model.vocab_size': 4000,
    'model.hidden_size': 128,
    'model.num_hidden_layers': 2,
    'model.num_attention_heads': 4,
    'model.intermediate_size': 512,
    'model.max_position_embeddings': LENGTH + 2,
    'model.initializer_range': 0.08,  # 0.02 is for wider layers
    'model.hidden_dropout_prob': 0.0,  # a short run of a small model underfits
    'model.attention_probs_dropout_prob': 0.0,
    'optim.learning_rate': 3e-3,
    'train.log_every': 50,
    'train.checkpoint_every': 100_000,
    'train.keep': 1,
}
FAMILIES: dict[str, dict[str, Any]] = {
    'bert': {'objective': 'mlm+nsp'},
    'roberta': {
        **{'objective': 'mlm', 'data.tokenizer': 'byte_bpe', 'model.model_type': 'roberta'},
        **{'model.position_offset': 2, 'model.type_vocab_size': 0},
    },
    'albert': {
        **{'objective': 'mlm+sop', 'data.tokenizer': 'sentencepiece', 'model.model_type': 'albert'},
        **{'model.share_layers': True, 'model.embedding_size': 64, 'data.max_ngram': 3},
    },
    'distilbert': {
        **{'objective': 'distill', 'model.model_type': 'distilbert', 'model.type_vocab_size': 0},
        'model.num_hidden_layers': 1,
    },
}


def split(corpus: str, folder: pathlib.Path) -> None:
    """Writes the documents of a corpus to train.txt and held_out.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    text = ''.join(files.lines(pathlib.Path(corpus)))
    documents = [document for document in text.split('\n\n') if document.strip()]
    for name, chosen in (('train', False), ('held_out', True)):
        part = [d for i, d in enumerate(documents) if (i % HELD_OUT == HELD_OUT - 1) == chosen]
        (folder / f'{name}.txt').write_text('\n\n'.join(part) + '\n')


def train(name: str, folder: pathlib.Path, steps: int, workdir: pathlib.Path) -> float:
    """Trains a model; returns the CPU seconds of its process."""
    values = {**SHAPE, **FAMILIES[name]}
    values |= {
        'data.corpus': f'text:{folder}/train.txt',
        'data.eval_corpus': f'text:{folder}/held_out.txt',
        'data.cache_dir': folder / 'cache',
        'train.phases': f'(({steps}, {LENGTH}, {ROWS}, {round(RATE * LENGTH)}),)',
        'train.eval_every': max(steps // 5, 1),
        'optim.warmup_steps': max(steps // 20, 1),
        'eval.max_batches': 20,
    }
    if name == 'distilbert':
        values['distill.teacher'] = folder / 'bert'
    command = [sys.executable, '-m', 'bert_jax', 'train', '--config=tiny', f'--workdir={workdir}']
    before = used()
    subprocess.run([*command, *(f'--config.{k}={v}' for k, v in values.items())], check=True)
    return used() - before


def used() -> float:
    """The CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def steps_within(name: str, folder: pathlib.Path, seconds: float) -> int:
    """The number of steps that take `seconds` of CPU time, measured with two short runs."""
    train(name, folder, 2, folder / 'pilots' / f'{name}_first')  # prepares and compiles
    times = [train(name, folder, n, folder / 'pilots' / f'{name}_{n}') for n in PILOTS]
    of_step = max(times[1] - times[0], 1e-3) / (PILOTS[1] - PILOTS[0])
    return max(int((seconds - times[0]) / of_step) + PILOTS[0], PILOTS[0])


def batches(model: model_dir.Pretrained, path: pathlib.Path) -> Iterator[dict[str, np.ndarray]]:
    """Rows of held-out text with masked tokens. characters: the number of characters for which each
    masked token stands, without spaces; 0 for all other tokens."""
    vocabulary, random = model.vocabulary, np.random.default_rng(0)
    form = model_languages.row_format(model.config)
    ids, sizes = list[int](), list[int]()
    for tokens, spans in vocabulary.encode_offsets(list(files.lines(path))):
        ids += tokens
        sizes += [end - start for start, end in spans]
    room = form.room(1, min(LENGTH, model.config.longest_row))
    starts = range(0, len(ids) - room, room)
    rows = np.array([form.row([ids[i : i + room]], vocabulary.specials)[0] for i in starts])
    characters = np.zeros(rows.shape, np.int32)
    (first,) = form.starts([room])
    for row, i in enumerate(starts):
        characters[row, first : first + room] = sizes[i : i + room]
    chosen = (random.random(rows.shape) < RATE) & (characters > 0)
    inputs = np.where(chosen, vocabulary.specials.mask, rows)
    for i in range(0, len(rows), ROWS):
        part = slice(i, i + ROWS)
        yield {
            'input_ids': inputs[part],
            'labels': rows[part],
            'characters': np.where(chosen, characters, 0)[part],
        }


def held_out(workdir: pathlib.Path, path: pathlib.Path) -> dict[str, float]:
    """The losses of a model, the share of unknown tokens, and the number of parameters."""
    model = model_dir.load(workdir)
    apply = jax.jit(model.model.apply)
    nats = tokens = characters = unknown = 0.0
    for batch in batches(model, path):
        outputs = apply({'params': model.params}, EncoderInputs(batch['input_ids']))
        scores = jax.nn.log_softmax(outputs['prediction_logits'])
        own = np.take_along_axis(np.asarray(scores), batch['labels'][..., None], -1)[..., 0]
        masked = batch['characters'] > 0
        nats -= float(own[masked].sum())
        tokens += masked.sum()
        characters += batch['characters'].sum()
        unknown += (batch['labels'][masked] == model.vocabulary.specials.unk).sum()
    return {
        'nats a character': nats / characters,
        'nats a token': nats / tokens,
        'unknown': unknown / tokens,
        'parameters': sum(leaf.size for leaf in jax.tree.leaves(model.params)),
    }


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.ERROR)
    folder = pathlib.Path(FLAGS.workdir).resolve()
    results = dict[str, dict[str, float]]()
    split(FLAGS.corpus, folder)
    for name in FAMILIES:
        steps = steps_within(name, folder, FLAGS.seconds)
        seconds = train(name, folder, steps, folder / name)
        lines = map(json.loads, (folder / name / 'metrics.jsonl').read_text().splitlines())
        speeds = [line['tokens_per_second'] for line in lines if line.get('tokens_per_second')]
        speed = float(np.median(speeds)) if speeds else float('nan')
        facts = {'steps': steps, 'CPU seconds': seconds, 'tokens a second': speed}
        results[name] = held_out(folder / name, folder / 'held_out.txt') | facts
    (folder / 'families.json').write_text(json.dumps(results, indent=2) + '\n')
    columns = 'nats a character | nats a token | unknown | parameters | steps | CPU seconds'
    print(f'| model | {columns} | tokens a second |')
    print('|---' * 8 + '|')
    for name, of in results.items():
        losses = f'{of["nats a character"]:.3f} | {of["nats a token"]:.3f} | {of["unknown"]:.1%}'
        numbers = ' | '.join(
            f'{of[key]:,.0f}' for key in ('parameters', 'steps', 'CPU seconds', 'tokens a second')
        )
        print(f'| {name} | {losses} | {numbers} |')
    runs = [f'--workdir={folder / name}' for name in FAMILIES]
    picture = f'--output={folder / "families.png"}'
    subprocess.run([sys.executable, '-m', 'bert_jax', 'plot', *runs, picture], check=True)


if __name__ == '__main__':
    FLAGS = flags.FLAGS
    flags.DEFINE_string('corpus', None, 'A text file.', required=True)
    flags.DEFINE_string('workdir', None, 'Where the runs are written.', required=True)
    flags.DEFINE_float('seconds', 1200, 'CPU seconds for each model.')
    app.run(main)
