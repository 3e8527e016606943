"""A run of fine-tuning beside PyTorch's: the same start, rows, schedule and optimizer."""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath
from flax import linen as nn
from reference import torch, transformers

from bert_jax.config import Config
from bert_jax.convert.folders import convert_out
from bert_jax.convert.foreign import full_config
from bert_jax.data.labelled.rows import ShuffledBatches
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning import settings
from bert_jax.finetuning.datasets import TaskData, load_task_data
from bert_jax.inference import model_dir
from bert_jax.models.heads import HeadedEncoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.preflight.resolve import resolve


@pytest.mark.slow
def test_the_losses_of_three_epochs(tmp_path: pathlib.Path, one_device: None) -> None:
    """There is no dropout. The last batch of an epoch is not full, and rows have two lengths."""
    source = with_a_head(tmp_path / 'source')
    files = {
        'train_file': str(small_tasks.write_texts(tmp_path / 'train.jsonl', 200, 0, most=28)),
        'eval_file': str(small_tasks.write_texts(tmp_path / 'dev.jsonl', 20, 1)),
    }
    config = small_tasks.configured(
        source, 'text', data=files | {'max_seq_length': 32}, train={'epochs': 3.0, 'log_every': 1}
    )
    resolve(config, epath.Path(tmp_path / 'w')).run()
    lines = [line for line in small_run.metrics(tmp_path / 'w') if line['split'] == 'train']
    assert len(lines) == 39  # 3 x ceil(200 / 16)

    config, vocabulary = settings.start_from(config)
    job = load_task_data('text', config, vocabulary)
    convert_out('hf', source, tmp_path / 'theirs')
    bert = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / 'theirs')
    ours = [line['loss'] for line in lines]
    theirs = their_losses(bert, settings.with_steps(config, job), job)
    print('largest difference of the losses', np.abs(np.subtract(ours, theirs)).max())
    assert np.mean(theirs[-5:]) < np.mean(theirs[:5]) / 2
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def their_losses(bert: Any, config: Config, job: TaskData) -> list[float]:
    """The losses of our batches, each cut to its longest row and without rows of padding."""
    decayed, others = [], []
    for name, parameter in bert.named_parameters():
        plain = name.endswith('bias') or 'LayerNorm' in name
        (others if plain else decayed).append(parameter)
    settings = config.optim
    groups = [{'params': decayed, 'weight_decay': settings.weight_decay}]
    groups.append({'params': others, 'weight_decay': 0.0})
    optimizer = torch.optim.AdamW(groups, settings.learning_rate, eps=settings.eps)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, settings.warmup_steps, config.num_steps
    )
    losses, shapes = [], set()
    stream = ShuffledBatches(job.train, (16, 32), config.train.batch_size, config.data.seed)
    for places in (batch for epoch in range(3) for batch in stream.epoch(epoch)):
        batch = job.train.batch(places, len(places), int(job.train.lengths[places].max()))
        shapes.add(batch['input_ids'].shape)
        names = 'input_ids', 'token_type_ids', 'attention_mask'
        inputs = {name: torch.tensor(batch[name]).long() for name in names}
        loss = bert(**inputs, labels=torch.tensor(batch['label_ids']).long()).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bert.parameters(), settings.grad_clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert min(rows for rows, _ in shapes) < 16 < max(length for _, length in shapes)
    return losses


def with_a_head(folder: pathlib.Path) -> pathlib.Path:
    """A model that both begin with, its classifier too."""
    model = dataclasses.replace(small_tasks.MODEL, initializer_range=0.2)
    init = jax.jit(HeadedEncoder(model, ('pooler', 'classifier'), 2).init)
    params = nn.unbox(init(jax.random.key(0), EncoderInputs.example()))['params']
    folder.mkdir()
    vocabulary = tokenizer.WordPiece(small_tasks.PIECES, True)
    model_dir.save(folder, full_config(model, lowercase=True), jax.device_get(params), vocabulary)
    (folder / 'corpus.json').write_text(
        json.dumps({'fingerprint': '', 'labels': ['neg', 'pos'], 'lowercase': True})
    )
    return folder
