"""Continued masked-word training of published weights, in bert_jax and in PyTorch."""

import importlib.util
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from etils import epath
from reference import torch, transformers

from bert_jax import config as configs
from bert_jax.config import Config
from bert_jax.convert.folders import convert_in
from bert_jax.data.pretraining import input_pipeline
from bert_jax.preflight.pretraining import Pretraining
from bert_jax.training import optimizer

STEPS = 8


def reactions(shared_data: Any) -> list[str]:
    """Returns the reactions of the golden files, and copies with the molecules in other orders."""
    random, lines = np.random.default_rng(0), []
    for name in ('rxnfp-bert-pretrained', 'rxnmapper-albert'):
        folder = shared_data(f'weights/{name}')
        pieces = (folder / 'vocab.txt').read_text().split('\n')
        for row in np.load(folder / 'golden_hf.npz')['input_ids']:
            words = [pieces[i] for i in row]
            text = ' '.join(w for w in words if w not in ('[PAD]', '[CLS]', '[SEP]', '[MASK]'))
            before, _, after = text.partition(' >> ')
            for _ in range(5):
                molecules = random.permutation(before.split(' . ')).tolist()
                lines.append(' . '.join(molecules) + ' >> ' + after)
    return random.permutation(lines).tolist()


def adapted(folder: pathlib.Path, lines: list[str], source: pathlib.Path) -> Config:
    (folder / 'train.txt').write_text('\n'.join(lines[:-6]))
    (folder / 'eval.txt').write_text('\n'.join(lines[-6:]))
    path = pathlib.Path(__file__).parents[2] / 'configs' / 'adapt.py'
    spec = importlib.util.spec_from_file_location('adapt', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = module.get_config()
    changes = {
        'init_from': str(source),
        'data.corpus': f'text:{folder}/train.txt',
        'data.eval_corpus': f'text:{folder}/eval.txt',
        'data.documents': 'line',
        'data.sentences': 'line',
        'data.cache_dir': str(folder / 'cache'),
        'model.hidden_dropout_prob': 0.0,
        'model.attention_probs_dropout_prob': 0.0,
        'model.scan_unroll': 1,
        'optim.warmup_steps': 2,
        'train.phases': ({'steps': STEPS, 'max_seq_length': 64, 'batch_size': 8},),
        'train.log_every': STEPS,
    }
    values.update_from_flattened_dict(changes)
    return configs.from_dict(values.to_dict())


def their_loss(model: Any, batch: Any) -> tuple[Any, float]:
    """The sum of the losses of the masked tokens, and the number of masked tokens."""
    arrays = ('input_ids', 'token_type_ids', 'attention_mask')
    logits = model(**{name: torch.tensor(batch[name]).long() for name in arrays}).logits
    positions, ids = (
        torch.tensor(batch[name]).long() for name in ('masked_lm_positions', 'masked_lm_ids')
    )
    logits = torch.take_along_dim(logits, positions[:, :, None], 1).flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits, ids.flatten(), reduction='none')
    weights = torch.tensor(batch['masked_lm_weights']).flatten()
    return (losses * weights).sum(), float(weights.sum())


def their_eval(model: Any, batches: Any) -> float:
    with torch.no_grad():
        sums = [their_loss(model.eval(), batch) for batch in batches]
    return float(sum(total for total, _ in sums)) / sum(count for _, count in sums)


def their_losses(source: pathlib.Path, config: Config, store: pathlib.Path) -> list[float]:
    """The held-out loss before and after the steps, with AdamW, clipping and the same batches."""
    model = transformers.BertForMaskedLM.from_pretrained(source)
    schedule, settings = optimizer.make_schedule(config), config.optim
    named = [(n, p) for n, p in model.named_parameters() if 'pooler' not in n]
    plain = [not name.endswith('bias') and 'LayerNorm' not in name for name, _ in named]
    groups = [
        {
            'params': [p for (_, p), decays in zip(named, plain, strict=True) if decays == wanted],
            'weight_decay': settings.weight_decay * wanted,
        }
        for wanted in (True, False)
    ]
    betas = (settings.beta1, settings.beta2)
    trainer = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=settings.eps)
    held_out = list(input_pipeline.EvalBatches(store, config, config.train.phases[0]))
    losses = [their_eval(model, held_out)]
    batches = input_pipeline.train_batches(store, config, start=0, stop=STEPS)
    for k, batch in enumerate(batches):
        for group in trainer.param_groups:
            group['lr'] = float(schedule(k))
        trainer.zero_grad()
        total, count = their_loss(model.train(), batch)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], settings.grad_clip_norm)
        trainer.step()
    return [*losses, their_eval(model, held_out)]


@pytest.mark.slow
def test_held_out_loss_of_real_weights(
    tmp_path: pathlib.Path, shared_data: Any, one_device: None
) -> None:
    source = shared_data('weights/rxnfp-bert-pretrained')
    convert_in('hf', source, tmp_path / 'start', lowercase=False)
    config = adapted(tmp_path, reactions(shared_data), tmp_path / 'start')
    Pretraining(config, epath.Path(tmp_path / 'run'), tmp_path / 'cache').run()
    lines = map(json.loads, (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines())
    ours = [line['mlm_loss'] for line in lines if line['split'] == 'eval']
    prepared = Pretraining(config, epath.Path(tmp_path / 'other'), tmp_path / 'cache')
    no_dropout = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
    folder = tmp_path / 'theirs'
    model = transformers.BertForMaskedLM.from_pretrained(source, **no_dropout)
    model.save_pretrained(folder)
    theirs = their_losses(folder, prepared.run_config, pathlib.Path(prepared.store))
    print('held-out loss', ours, theirs)
    assert ours[0] < 1.5, 'the weights fit the text'
    assert ours[-1] < 0.8 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)
