"""Times one pretraining step, ours and PyTorch's, in turn in one run on this machine.

Each side has a process of its own, so that no side's threads and memory are in another's way;
while one makes a step the others wait.

    pip install torch transformers
    python tests/parity/bench_step.py --config=configs/base.py
    python tests/parity/bench_step.py --config=configs/large.py --batch_size=128    # on a GPU

The same on all sides: BERT's two heads, 20 masked positions of 128, the configuration's dropout,
AdamW, gradients clipped to norm 1. transformers' BertForPreTraining takes every position to the
vocabulary, ours only the masked ones; so it is timed both as it is and with the masked ones alone.
On a CPU in float32; on a GPU in bfloat16 with float32 parameters, and PyTorch with what makes it
fast: torch.compile, SDPA, fused AdamW, TF32.
"""

import dataclasses
import functools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from bert_jax import batch as batches
from bert_jax.config import Config, ModelConfig, Phase, from_dict
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import PRESETS, make_mesh
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import random_streams, train_step

CONFIG = config_flags.DEFINE_config_file('config', 'configs/base.py', 'Configuration file.')
ROUNDS = flags.DEFINE_integer('rounds', 7, 'Steps timed on each side, after those that warm up.')
BATCH_SIZE = flags.DEFINE_integer('batch_size', 8, 'Sequences of a step.')
WARMUP = 3  # steps that are not timed
LENGTH = flags.DEFINE_integer('max_seq_length', 128, 'Tokens of a sequence.')


def our_step(config: Config, phase: Phase, batch: dict[str, np.ndarray]) -> Callable[[], float]:
    task, mesh = PretrainTask(config.model), make_mesh(PRESETS['dp'])
    key = random_streams.root(0, config.train.prng_impl)
    built = train_step.build_step(config, task, mesh)
    state = built.init(key)
    arrays = sharding.shard_batch(batch, task.batch_spec(phase), mesh)

    def run() -> float:
        nonlocal state
        state, sums = built.train(state, arrays, key)
        return float(sums['loss'][0])

    return run


def torch_step(
    config: Config, phase: Phase, batch: dict[str, np.ndarray], masked_only: bool = False
) -> Callable[[], float]:
    import their_training
    import torch
    import transformers

    model: Any = transformers.BertForPreTraining(_their_config(config.model))
    gpu = torch.cuda.is_available()
    device = torch.device('cuda' if gpu else 'cpu')
    torch.set_float32_matmul_precision('high' if gpu else 'highest')
    model.to(device).train()
    torch_optimizer = their_training.adamw(model, config.optim, fused=gpu or None)
    labels = np.full(batch['input_ids'].shape, -100)
    np.put_along_axis(labels, batch['masked_lm_positions'], batch['masked_lm_ids'], axis=1)
    names = 'input_ids', 'token_type_ids', 'attention_mask', 'next_sentence_labels'
    arrays = {name: batch[name] for name in (*names, 'masked_lm_positions', 'masked_lm_ids')}
    tensors = {
        name: torch.tensor(array, dtype=torch.long, device=device)
        for name, array in (arrays | {'labels': labels}).items()
    }
    texts = {name: tensors[name] for name in names[:3]}
    following = tensors['next_sentence_labels']

    def masked_loss() -> Any:
        hidden, pooled = model.bert(**texts, return_dict=False)
        places = tensors['masked_lm_positions'][:, :, None].expand(-1, -1, hidden.shape[-1])
        tokens, sentences = model.cls(hidden.gather(1, places), pooled)
        entropy = torch.nn.functional.cross_entropy
        ids = tensors['masked_lm_ids'].flatten()
        return entropy(tokens.flatten(0, 1), ids) + entropy(sentences, following)

    def whole_loss() -> Any:
        labels = {'labels': tensors['labels'], 'next_sentence_label': following}
        return model(**texts, **labels).loss

    forward = masked_loss if masked_only else whole_loss
    forward = torch.compile(forward) if gpu else forward

    def run() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=gpu):
            loss = forward()
        return their_training.update(torch_optimizer, loss, config.optim)

    return run


def _their_config(model: ModelConfig) -> Any:
    import transformers

    names = ['vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads']
    names += ['intermediate_size', 'hidden_dropout_prob', 'attention_probs_dropout_prob']
    values = {name: getattr(model, name) for name in names}
    return transformers.BertConfig(**values, attn_implementation='sdpa')


def serve(make: Callable[..., Callable[[], float]], pipe: Any, *args: Any) -> None:
    """Makes a step and sends its seconds each time something arrives."""
    os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'  # the other side needs memory too
    run = make(*args)
    for _ in range(WARMUP):
        run()
    pipe.send('ready')
    while pipe.recv():
        start = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - start)


def main(_: list[str]) -> None:
    config = from_dict(CONFIG.value.to_dict()).padded()
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, name='adamw'))
    length = LENGTH.value
    phase = Phase(1, length, BATCH_SIZE.value, max(round(20 * length / 128), 1))
    batch = batches.synthetic(PretrainTask(config.model).batch_spec(phase))
    order = np.random.default_rng(0).random((phase.batch_size, length - 1)).argsort(axis=1)
    places = 1 + order[:, : phase.max_predictions_per_seq]
    batch['masked_lm_positions'] = places.astype(np.int32)
    spawn = multiprocessing.get_context('spawn')
    pipes = {}
    sides = {
        'bert_jax': our_step,
        'transformers': torch_step,
        'masked only': functools.partial(torch_step, masked_only=True),
    }
    for name, make in sides.items():
        pipes[name], far = spawn.Pipe()
        spawn.Process(target=serve, args=(make, far, config, phase, batch), daemon=True).start()
        far.close()  # so that a child's end is an EOFError here, not a wait
        pipes[name].recv()
    seconds: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(ROUNDS.value):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f'{name:12} {1e3 * median:8.1f} ms a step ({1e3 * min(times):.1f} to '
            f'{1e3 * max(times):.1f}), '
            f'{phase.batch_size / median:5.2f} sequences/s'
        )
    ours, *theirs = seconds
    for name in theirs:
        ratios = [b / a for a, b in zip(seconds[ours], seconds[name], strict=True)]
        print(f'speed of {ours} / {name}, median of pairs: {statistics.median(ratios):.2f}')
    print(f'jax {jax.__version__}, {jax.default_backend()}')


if __name__ == '__main__':
    app.run(main)
