"""Every configuration of a member of the family trains on real text, made small."""

import gzip
import importlib.util
import json
import pathlib

import numpy as np
import pytest
from tiny_model import ROOT

from bert_jax import main
from bert_jax.config import command_line

SMALL = {
    'model.vocab_size': 600,
    'model.hidden_size': 32,
    'model.num_hidden_layers': 2,
    'model.num_attention_heads': 2,
    'model.intermediate_size': 64,
    'model.max_position_embeddings': 72,
    'model.initializer_range': 0.1,
    'data.holdout': 0.2,
    'optim.warmup_steps': 2,
    'optim.learning_rate': 0.01,
    'train.log_every': 1,
    'train.phases': '((2, 64, 32, 12),)',
    'eval.max_batches': 1,
}
# The names of the configurations, their objectives, and values that differ.
TABLE = {
    'roberta_base': ('mlm', {}),
    'albert_base': ('mlm+sop', {'model.embedding_size': 16}),
    'flaubert_base': ('mlm', {}),
    'xlm': ('mlm+tlm', {'train.phases': '((20, 64, 32, 12),)'}),
}


@pytest.fixture(scope='module')
def texts(shared_data, tmp_path_factory):
    """English and French openings of articles, and captions in two columns."""
    folder = tmp_path_factory.mktemp('texts')
    for language in ('en', 'fr'):
        leads = shared_data(f'corpora/wikipedia_leads_{language}.txt.gz')
        documents = gzip.open(leads, 'rt').read().split('\n\n')[:150]
        (folder / f'{language}.txt').write_text('\n\n'.join(documents))
    captions = [
        gzip.open(shared_data(f'parallel/multi30k/train.{language}.gz'), 'rt').read().split('\n')
        for language in ('en', 'fr')
    ]
    rows = ['\t'.join(pair) for pair in zip(*captions, strict=True)][:300]
    (folder / 'en-fr.tsv').write_text('\n'.join(rows) + '\n')
    return folder


def corpus_of(name: str, texts: pathlib.Path) -> dict[str, str]:
    if name == 'xlm':
        return {
            'data.corpus': f'en=text:{texts}/en.txt,fr=text:{texts}/fr.txt',
            'data.parallel': f'en-fr=text:{texts}/en-fr.tsv',
        }
    language = 'fr' if name == 'flaubert_base' else 'en'
    return {'data.corpus': f'text:{texts}/{language}.txt'}


def config_of(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'configs' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


@pytest.mark.parametrize('name', TABLE)
def test_a_small_run(name, texts, tmp_path):
    objective, others = TABLE[name]
    assert config_of(name).objective == objective
    values = SMALL | {'data.cache_dir': tmp_path / 'cache'} | others | corpus_of(name, texts)
    flags = [f'--config.{key}={value}' for key, value in values.items()]
    done = run(['--config', str(ROOT / f'configs/{name}.py'), f'--workdir={tmp_path}/run', *flags])
    assert done == 0
    lines = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
    train = [line for line in lines if line['split'] == 'train']
    held_out = [line for line in lines if line['split'] == 'eval'][-1]
    names = [f'{part}_loss' for part in objective.split('+')]
    assert all(np.isfinite([line[loss] for loss in names]).all() for line in [*train, held_out])
    if len(train) >= 20:
        for loss in names:
            first, last = (np.mean([line[loss] for line in part]) for part in (train[:3], train[-3:]))
            assert last < first - 0.5, (loss, first, last)
