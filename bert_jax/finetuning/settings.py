"""The configuration of a fine-tuning run, as its checkpoint, task, data and seed settle it."""

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

from etils import epath

from bert_jax.config import Config, ModelConfig, Phase, architecture_fields, validate
from bert_jax.config.errors import config_error
from bert_jax.data.text import staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning.task_data import TaskData
from bert_jax.inference import model_dir


def start_from(config: Config) -> tuple[Config, tokenizer.Tokenizer]:
    """The configuration with the architecture of init_from, and the vocabulary of init_from.

    Without init_from, the vocabulary is that of config.data.vocab_file. Raises ValueError for
    settings that init_from decides.
    """
    data, lowercase, values = config.data, config.data.lowercase, dict[str, Any]()
    if config.init_from:
        if data.vocab_file:
            raise ValueError(
                f'config.data.vocab_file is {data.vocab_file!r}, but the vocabulary is that of '
                'config.init_from; remove it'
            )
        source, vocabulary = model_dir.read_config(config.init_from)
        if vocabulary is None:
            raise ValueError(f'{config.init_from} has no vocabulary; put its vocab.txt beside it')
        if vocabulary.lowercase and not lowercase:
            raise ValueError(
                'config.data.lowercase is False, but the vocabulary of config.init_from is '
                'lowercased; remove it'
            )
        lowercase = vocabulary.lowercase
        values = {name: getattr(source.model, name) for name in architecture_fields()}
    elif data.vocab_file:
        vocabulary = tokenizer.load(staging.localized(data).vocab_file, lowercase)
    else:
        raise ValueError(
            'config.init_from is empty: give the checkpoint to fine-tune. (To train from random '
            'parameters, give config.data.vocab_file)'
        )
    for name, value in values.items():
        given = getattr(config.model, name)
        if given not in (value, getattr(ModelConfig(), name)):
            raise ValueError(
                f'config.model.{name} is {given!r}, but the model is that of config.init_from, '
                f'where it is {value!r}; remove it'
            )
    size = data.padded(values.get('vocab_size', vocabulary.vocab_size))
    model = dataclasses.replace(config.model, **values | {'vocab_size': size})
    if not 8 <= data.max_seq_length <= model.max_position_embeddings:
        expected = f"8 to {model.max_position_embeddings}, the model's positions"
        raise config_error('data.max_seq_length', data.max_seq_length, expected)
    data = dataclasses.replace(data, lowercase=lowercase)
    config = dataclasses.replace(config, model=model, data=data)
    validate(one_step(config))
    return config, vocabulary


def one_step(config: Config) -> Config:
    """The configuration with a phase of one step: the number of steps depends on the data."""
    phase = Phase(1, config.data.max_seq_length, config.train.batch_size, 1)
    training = dataclasses.replace(config.train, phases=(phase,), num_steps=0)
    optim = dataclasses.replace(config.optim, warmup_steps=0)
    return dataclasses.replace(config, train=training, optim=optim)


def with_steps(config: Config, data: TaskData) -> Config:
    """Epochs as steps, with an evaluation and a checkpoint at the end of each epoch."""
    settings = config.train
    epoch = math.ceil(len(data.train) / settings.batch_size)
    steps = max(round(settings.epochs * epoch), 1)
    phase = Phase(steps, config.data.max_seq_length, settings.batch_size, 1)
    warmup = config.optim.warmup_steps or int(config.optim.warmup_fraction * steps)
    training = dataclasses.replace(
        settings,
        phases=(phase,),
        eval_every=epoch,
        checkpoint_every=min(settings.checkpoint_every, epoch),
    )
    optim = dataclasses.replace(config.optim, warmup_steps=warmup)
    return validate(dataclasses.replace(config, train=training, optim=optim))


def seeds(config: Config, workdir: epath.Path) -> Iterator[tuple[Config, epath.Path]]:
    """The configuration and the workdir of each seed of a task."""
    for i in range(config.train.seeds):
        seed = config.train.seed + i
        train = dataclasses.replace(config.train, seed=seed)
        data = dataclasses.replace(config.data, seed=config.data.seed + i)
        folder = workdir / f'seed_{seed}' if config.train.seeds > 1 else workdir
        yield dataclasses.replace(config, train=train, data=data), folder


def check_seeds(config: Config, workdir: epath.Path) -> None:
    """Raises ValueError if the runs of a task do not belong in one table."""
    several = config.train.seeds > 1
    if (workdir / 'config.json').exists() if several else any(workdir.glob('seed_*')):
        raise ValueError(
            f'{workdir} holds {"one run" if several else "runs of several seeds"}, and '
            f'config.train.seeds is {config.train.seeds}; use another --workdir'
        )
    for _, folder in seeds(config, workdir) if several else ():
        path = folder / 'config.json'
        saved = json.loads(path.read_text())['init_from'] if path.exists() else config.init_from
        if saved != config.init_from:
            raise ValueError(
                f'{folder} started from config.init_from={saved}, the next would start from '
                f'{config.init_from}; give the same one, or use another --workdir'
            )


def with_task(config: Config, task: str) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, task=task))
