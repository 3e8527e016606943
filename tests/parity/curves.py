"""Draws the losses of bert_jax and of PyTorch with the same weights, batches and optimizer.

    pip install torch transformers matplotlib
    python tests/parity/curves.py --output=tests/parity/curves.png

Batches of the built-in text go to both; AdamW, clipping, warm-up and decay, no dropout, float32.
"""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import reference
from absl import app, flags
from reference import Both, their_training, torch

from bert_jax.batch import HostBatch
from bert_jax.config import Config, DataConfig, MeshConfig, OptimConfig, Phase, TrainConfig
from bert_jax.data.pretraining import input_pipeline
from bert_jax.data.store import preparation
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import optimizer, random_streams, train_step


def their_loss(model: Any, inputs: Mapping[str, np.ndarray]) -> Any:
    """BERT's loss by their logits: masked words weighted, each term divided by its count."""
    outputs = model(**their_training.texts(inputs))
    total, count = their_training.masked_lm_loss(outputs.prediction_logits, inputs)
    labels = torch.tensor(inputs['next_sentence_labels']).long()
    return total / count + torch.nn.functional.cross_entropy(
        outputs.seq_relationship_logits, labels
    )


def curves(
    workspace: pathlib.Path, steps: int, shape: Mapping[str, Any]
) -> tuple[list[float], list[float]]:
    """Returns the losses of both at every step. shape: arguments of transformers' BertConfig."""
    config = Config(
        data=DataConfig(corpus='builtin', holdout=0.02, cache_dir=str(workspace)),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=steps // 5),
        train=TrainConfig(phases=(Phase(steps, 64, 8, 10),)),
    )
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=2048))
    store = preparation.prepare(config)
    no_dropout = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
    vocab_size = json.loads((store / 'store.json').read_text())['vocab_size']
    model = reference.random_model(
        workspace, **shape, **no_dropout, vocab_size=vocab_size, max_position_embeddings=64
    )
    config = dataclasses.replace(config, model=model.ours.config)
    feed = list(input_pipeline.train_batches(store, config, start=0, stop=steps))
    return _ours(model, config, feed), _theirs(model, config, feed)


def _ours(model: Both, config: Config, feed: list[HostBatch]) -> list[float]:
    task = PretrainTask(config.model)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    key = random_streams.root(0, 'threefry2x32')
    spec = task.batch_spec(config.train.phases[0])
    params = jax.device_put(jax.device_get(model.ours._params), mesh.devices.flat[0])
    built = train_step.build_step(config, task, mesh)
    state = dataclasses.replace(built.init(key), params=params)
    losses = []
    for batch in feed:
        state, sums = built.train(state, sharding.shard_batch(batch, spec, mesh), key)
        losses.append(float(sums['loss'][0]))
    return losses


def _theirs(model: Both, config: Config, feed: list[HostBatch]) -> list[float]:
    trainer = their_training.adamw(model.theirs.train(), config.optim)
    schedule = optimizer.make_schedule(config)
    return [
        their_training.update(
            trainer, their_loss(model.theirs, batch), config.optim, float(schedule(k))
        )
        for k, batch in enumerate(feed)
    ]


def draw(ours: list[float], theirs: list[float], output: str) -> None:
    import matplotlib

    matplotlib.use('agg')
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 5), sharex=True, height_ratios=(3, 1), layout='constrained'
    )
    above.plot(theirs, linewidth=4, alpha=0.4, label='PyTorch')
    above.plot(ours, linewidth=1, label='bert_jax')
    above.set_ylabel('loss, nats')
    above.legend()
    below.semilogy(np.maximum(np.abs(np.subtract(ours, theirs)), 1e-8), color='gray')
    below.set_ylabel('difference')
    below.set_xlabel('step')
    figure.savefig(output, dpi=110)


def main(_: list[str]) -> None:
    shape = {'hidden_size': 128, 'num_hidden_layers': 4, 'num_attention_heads': 4}
    with tempfile.TemporaryDirectory() as workspace:
        ours, theirs = curves(
            pathlib.Path(workspace), flags.FLAGS.steps, shape | {'intermediate_size': 512}
        )
    gap = np.abs(np.subtract(ours, theirs)).max()
    print(f'{len(ours)} steps, loss {theirs[0]:.3f} -> {theirs[-1]:.3f}; largest gap {gap:.1e}')
    draw(ours, theirs, flags.FLAGS.output)


if __name__ == '__main__':
    flags.DEFINE_integer('steps', 100, 'Training steps.')
    flags.DEFINE_string('output', 'curves.png', 'The picture.')
    app.run(main)
