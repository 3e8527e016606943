"""What fine-tuning with transformers and PyTorch reaches, to hold ours to: run it by hand.

    python tests/parity/finetune.py --task=mrpc --data=DIR --model=DIR --seeds=0,1,2
    python tests/parity/finetune.py --task=ner --data=DIR --model=DIR --learning_rate=5e-5

data: the folder of GLUE's folders, or one with train.conll and dev.conll. model: a folder of
transformers with a vocab.txt, or a package that has one. Prints a JSON line per seed, and last the
mean and standard deviation of each score.
"""

import argparse
import importlib
import json
import pathlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

from bert_jax import host_metrics
from bert_jax.data import conll, tagging, tokenizer

NO_LABEL = -100  # of a token, in PyTorch
NO_DECAY = re.compile(r'bias$|LayerNorm')
GROUP = 50  # batches among which rows are sorted by length


class Item(NamedTuple):
    """label: a class id, a score, or an id for each token."""

    ids: list[int]
    types: list[int]
    label: Any


class Task(NamedTuple):
    """score: of the outputs for the dev items, float[length, labels] or float[labels] each."""

    train: list[Item]
    dev: list[Item]
    num_labels: int
    architecture: Any
    score: Callable[[list[np.ndarray]], dict[str, float]]


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', required=True, help="ner, or one of GLUE's: mrpc, stsb, ...")
    parser.add_argument('--data', required=True, type=pathlib.Path)
    parser.add_argument('--model', required=True)
    parser.add_argument('--seeds', default='0')
    settings = {'learning_rate': 3e-5, 'batch_size': 32, 'epochs': 3, 'max_seq_length': 128}
    for name, default in (settings | {'limit_train': 20_000}).items():
        parser.add_argument(f'--{name}', type=type(default), default=default)
    parser.add_argument('--max_steps', type=int, help='end training, and its schedule, earlier')
    parser.add_argument('--group_by_length', action='store_true')
    return parser.parse_args()


def folder(model: str) -> pathlib.Path:
    """The folder itself, or the one with a model.safetensors in the package of that name."""
    if pathlib.Path(model).is_dir():
        return pathlib.Path(model)
    package = pathlib.Path(str(importlib.import_module(model).__file__)).parent
    return next(package.rglob('model.safetensors')).parent


def glue_task(args: argparse.Namespace, model: pathlib.Path) -> Task:
    from bert_jax.data import glue

    task = glue.TASKS[args.task]
    encode = transformers.AutoTokenizer.from_pretrained(model)

    def items(split: str) -> list[Item]:
        examples = glue.read(task.name, args.data, split)
        texts = [[e.text for e in examples]]
        if len(task.texts) == 2:
            texts.append([e.text_b for e in examples])
        rows = encode(*texts, truncation='longest_first', max_length=args.max_seq_length)
        to_label = float if task.regression else task.labels.index
        labels = [to_label(e.label) for e in examples]
        parts = zip(rows['input_ids'], rows['token_type_ids'], labels, strict=True)
        return [Item(*part) for part in parts]

    dev = items('dev_matched' if task.name == 'mnli' else 'dev')
    labels = np.array([item.label for item in dev])

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        if task.regression:
            return host_metrics.regression(np.array(outputs)[:, 0], labels)
        return host_metrics.classification(np.array(outputs).argmax(-1), labels, task.metrics)

    architecture = transformers.AutoModelForSequenceClassification
    return Task(items('train'), dev, max(len(task.labels), 1), architecture, score)


def ner_task(args: argparse.Namespace, model: pathlib.Path) -> Task:
    train, dev = (conll.read(args.data / f'{split}.conll') for split in ('train', 'dev'))
    settings = json.loads((model / 'tokenizer_config.json').read_text())
    vocabulary = tokenizer.load(model, lowercase=settings.get('do_lower_case', True))
    names = conll.label_names(train)
    options = {'max_seq_length': args.max_seq_length, 'allow_unknown': True}
    both = [tagging.windows(part, vocabulary, names, **options) for part in (train, dev)]

    def items(w: tagging.Windows) -> list[Item]:
        pairs = zip(w.rows, w.labels, strict=True)
        return [Item(*row, np.where(x < 0, NO_LABEL, x)) for row, x in pairs]

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        predicted = tagging.decode(dev, both[1], outputs)
        return host_metrics.entities([sentence.tags or [] for sentence in dev], predicted)

    return Task(*map(items, both), len(names), transformers.AutoModelForTokenClassification, score)


def collate(items: Sequence[Item], device: str) -> dict[str, torch.Tensor]:
    """Padded to the longest of them."""
    shape = len(items), max(len(item.ids) for item in items)
    ids, types, mask = torch.zeros(3, *shape, dtype=torch.long)
    tagged = isinstance(items[0].label, np.ndarray)
    labels = torch.full(shape, NO_LABEL) if tagged else torch.tensor([i.label for i in items])
    for row, item in enumerate(items):
        size = len(item.ids)
        ids[row, :size], types[row, :size] = torch.tensor(item.ids), torch.tensor(item.types)
        mask[row, :size] = 1
        if tagged:
            labels[row, :size] = torch.from_numpy(item.label)
    batch = {'input_ids': ids, 'token_type_ids': types, 'attention_mask': mask, 'labels': labels}
    return {name: value.to(device) for name, value in batch.items()}


def order(items: Sequence[Item], args: argparse.Namespace, random: Any) -> list[np.ndarray]:
    """An epoch's batches: all places, shuffled."""
    shuffled, size = random.permutation(len(items)), args.batch_size
    if args.group_by_length:
        parts = [shuffled[i : i + GROUP * size] for i in range(0, len(items), GROUP * size)]
        shuffled = np.concatenate([sorted(p, key=lambda i: len(items[i].ids)) for p in parts])
    batches = [shuffled[i : i + size] for i in range(0, len(items), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def run(task: Task, model: pathlib.Path, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tunes as BERT was: AdamW, warm-up of a tenth, linear decay to 0."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    bert = task.architecture.from_pretrained(model, num_labels=task.num_labels).float().to(device)
    groups: dict[float, list[Any]] = {0.0: [], 0.01: []}
    for name, parameter in bert.named_parameters():
        groups[0.0 if NO_DECAY.search(name) else 0.01].append(parameter)
    parts = [{'params': group, 'weight_decay': decay} for decay, group in groups.items()]
    optimizer = torch.optim.AdamW(parts, lr=args.learning_rate, eps=1e-6)  # betas 0.9, 0.999
    train = task.train[: args.limit_train]
    per_epoch = -(-len(train) // args.batch_size)
    steps = min(args.epochs * per_epoch, args.max_steps or args.epochs * per_epoch)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    losses: list[float] = []
    began = time.perf_counter()
    bert.train()
    while len(losses) < steps:
        for places in order(train, args, random)[: steps - len(losses)]:
            loss = bert(**collate([train[i] for i in places], device)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bert.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    seconds = (time.perf_counter() - began) / steps * per_epoch
    info = {'steps': steps, 'loss': np.mean(losses[-per_epoch:]), 's_per_epoch': seconds}
    return {'seed': seed} | info | {'scores': task.score(predict(bert.eval(), task.dev, device))}


@torch.no_grad()
def predict(bert: Any, items: Sequence[Item], device: str) -> list[np.ndarray]:
    batches = [collate(items[i : i + 64], device) for i in range(0, len(items), 64)]
    return [row for batch in batches for row in bert(**batch).logits.cpu().numpy()]


def main() -> None:
    args = flags()
    model = folder(args.model)
    task = (ner_task if args.task == 'ner' else glue_task)(args, model)
    runs = []
    for seed in map(int, args.seeds.split(',')):
        runs.append(run(task, model, seed, args))
        print(json.dumps({'task': args.task} | runs[-1]), flush=True)
    scores = {name: [r['scores'][name] for r in runs] for name in runs[0]['scores']}
    summary = {name: [np.mean(values), np.std(values)] for name, values in scores.items()}
    print(json.dumps({'task': args.task, 'mean and std': summary}))


if __name__ == '__main__':
    main()
