"""Files of tasks that a tiny model learns in seconds, and the pretrained folder it starts from."""

import json
import pathlib
import random
from typing import Any

import random_parameters
from tiny_model import changed

from bert_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    Phase,
    TrainConfig,
    validate,
)
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.models.heads import PRETRAINING_HEADS

WORDS = ('a', 'film', 'was', 'it', 'and', 'the', 'plot', 'good', 'bad', 'anna', 'bert', 'went')
PIECES = [*tokenizer.SPECIALS, *WORDS, '.', '?', 'who']
MODEL = ModelConfig(
    vocab_size=len(PIECES),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=32,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    scan_unroll=1,
)


def pretrained_folder(folder: pathlib.Path, model: ModelConfig = MODEL) -> pathlib.Path:
    """Writes fresh parameters in the form in which `bert_jax convert` writes them."""
    folder.mkdir()
    phase = Phase(1, 16, 1, 1)
    config = validate(
        Config(
            model=model,
            optim=OptimConfig(warmup_steps=0),
            train=TrainConfig(phases=(phase,)),
        )
    )
    params = random_parameters.fresh(model, PRETRAINING_HEADS)
    model_dir.save(folder, config, params, tokenizer.WordPiece(PIECES, True))
    return folder


def fine_tuned_folder(
    folder: pathlib.Path,
    heads: tuple[str, ...],
    labels: tuple[str, ...],
    model: ModelConfig = MODEL,
    **facts: Any,
) -> pathlib.Path:
    """A fine-tuned model with random parameters and rows of at most 16 tokens, although it has 32
    positions. facts: more of its corpus.json."""
    params = random_parameters.like_fresh(model, heads, max(len(labels), 1))
    folder.mkdir()
    data = DataConfig(max_seq_length=16, max_query_length=4, doc_stride=4)
    train = TrainConfig(phases=(Phase(1, 16, 16, 1),))
    config = Config(model=model, data=data, train=train, optim=OptimConfig(warmup_steps=0))
    task = {'labels': labels, **facts}
    vocabulary = tokenizer.WordPiece(PIECES, True)
    model_dir.save(folder, config, params, vocabulary, task)
    return folder


def configured(source: pathlib.Path, task: str, **sections: dict[str, Any]) -> Config:
    """Returns the configuration of a run that starts from `source`. sections: changes by
    section."""
    config = Config(
        model=MODEL,
        data=DataConfig(task=task, max_seq_length=16),  # one shape to compile
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=0),
        train=TrainConfig(batch_size=16, epochs=6.0, log_every=1000, keep=2),
        init_from=str(source),
    )
    return changed(config, **sections)


def sentence(rng: random.Random, extra: str, most: int = 12) -> str:
    words = rng.choices(WORDS[:7], k=rng.randint(2, most))
    words.insert(rng.randrange(len(words) + 1), extra)
    return ' '.join(words)


def write_texts(path: pathlib.Path, count: int, seed: int, most: int = 12) -> pathlib.Path:
    """Writes texts with the label pos or neg, which a single word of the text decides."""
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        extra, label = rng.choice([('good', 'pos'), ('bad', 'neg')])
        lines.append(json.dumps({'text': sentence(rng, extra, most), 'label': label}) + '\n')
    path.write_text(''.join(lines))
    return path


def write_tags(path: pathlib.Path, count: int, seed: int) -> pathlib.Path:
    """Writes sentences in which anna and bert are persons."""
    rng = random.Random(seed)
    blocks = []
    for _ in range(count):
        words = sentence(rng, rng.choice(['anna', 'bert'])).split()
        blocks.append(''.join(f'{w}\t{"B-PER" if w in WORDS[9:11] else "O"}\n' for w in words))
    path.write_text('\n'.join(blocks))
    return path


def write_pairs(path: pathlib.Path, count: int, seed: int) -> pathlib.Path:
    """Writes a tsv of sentences and their words in the opposite order."""
    rng = random.Random(seed)
    lines = ['source\ttarget\n']
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(2, 4))
        lines.append(f'{" ".join(words)}\t{" ".join(reversed(words))}\n')
    path.write_text(''.join(lines))
    return path


def write_questions(path: pathlib.Path, count: int, seed: int, impossible: bool) -> pathlib.Path:
    """Writes questions with the answer anna or bert. If `impossible`, every third one has none."""
    rng = random.Random(seed)
    paragraphs = []
    for i in range(count):
        none = impossible and i % 3 == 0
        name = 'the' if none else rng.choice(['anna', 'bert'])
        context = f'{sentence(rng, "plot")} . {name} went'
        answers = [] if none else [{'text': name, 'answer_start': context.rindex(name)}]
        record = {'id': str(i), 'question': 'who went ?', 'answers': answers}
        record |= {'is_impossible': none} if impossible else {}
        paragraphs.append({'context': context, 'qas': [record]})
    version = 'v2.0' if impossible else '1.1'
    path.write_text(
        json.dumps({'version': version, 'data': [{'title': 't', 'paragraphs': paragraphs}]})
    )
    return path
