"""Continued masked-word training of published weights, in bert_jax and in PyTorch."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from etils import epath
from reference import their_training, torch, transformers
from tiny_model import configured

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
    return configured('adapt', changes)


def their_loss(model: Any, batch: Any) -> tuple[Any, float]:
    """The sum of the losses of the masked tokens, and the number of masked tokens."""
    logits = model(**their_training.texts(batch)).logits
    return their_training.masked_lm_loss(logits, batch)


def their_eval(model: Any, batches: Any) -> float:
    with torch.no_grad():
        sums = [their_loss(model.eval(), batch) for batch in batches]
    return float(sum(total for total, _ in sums)) / sum(count for _, count in sums)


def their_losses(source: pathlib.Path, config: Config, store: pathlib.Path) -> list[float]:
    """The held-out loss before and after the steps, with AdamW, clipping and the same batches."""
    model = transformers.BertForMaskedLM.from_pretrained(source)
    schedule, trainer = optimizer.make_schedule(config), their_training.adamw(model, config.optim)
    held_out = list(input_pipeline.EvalBatches(store, config, config.train.phases[0]))
    before = their_eval(model, held_out)
    batches = input_pipeline.train_batches(store, config, start=0, stop=STEPS)
    for k, batch in enumerate(batches):
        total, count = their_loss(model.train(), batch)
        their_training.update(trainer, total / count, config.optim, float(schedule(k)))
    return [before, their_eval(model, held_out)]


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
