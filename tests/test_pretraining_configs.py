"""The configurations of all families, made small, train on real text."""

import gzip
import pathlib

import numpy as np
import pytest
import small_run
from etils import epath
from small_run import QUICK
from tiny_model import configured

from bert_jax import main

pytestmark = pytest.mark.usefixtures('one_device')
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
    'train.phases': ((2, 64, 32, 12),),
    'eval.max_batches': 1,
}
# The names of the configurations, their objectives, and values that differ.
TABLE = {
    'roberta_base': ('mlm', {}),
    'albert_base': ('mlm+sop', {'model.embedding_size': 16}),
    'flaubert_base': ('mlm', {}),
    'xlnet_base': ('plm', {'model.mem_len': 40, 'model.reuse_len': 30, 'model.bi_data': True}),
    'xlm': ('mlm+tlm', {'train.phases': ((20, 64, 32, 12),)}),
}


@pytest.fixture(scope='module')
def texts(shared_data, tmp_path_factory):
    """English and French openings of articles, and captions in two columns."""
    folder = tmp_path_factory.mktemp('texts')
    for language in ('en', 'fr'):
        leads = shared_data(f'corpora/wikipedia_leads_{language}.txt.gz')
        documents = gzip.decompress(leads.read_bytes()).decode().split('\n\n')[:150]
        (folder / f'{language}.txt').write_text('\n\n'.join(documents))
    captions = [
        gzip.decompress(shared_data(f'parallel/multi30k/train.{name}.gz').read_bytes()).decode()
        for name in ('en', 'fr')
    ]
    columns = zip(*(text.split('\n')[:300] for text in captions), strict=True)
    rows = map('\t'.join, columns)
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


@pytest.mark.slow
@pytest.mark.parametrize('name', ['xlm', 'xlnet_base'] if QUICK else TABLE)
def test_a_small_run(name, texts, tmp_path):
    objective, others = TABLE[name]
    changes = SMALL | others | corpus_of(name, texts) | {'data.cache_dir': str(tmp_path)}
    config = configured(name, changes)
    assert config.objective == objective
    main.run(config, epath.Path(tmp_path / 'run'))
    lines = small_run.numbers(tmp_path / 'run')
    train = [line for line in lines if line['split'] == 'train']
    held_out = [line for line in lines if line['split'] == 'eval'][-1]
    names = [f'{part}_loss' for part in objective.split('+')]
    assert all(np.isfinite([line[loss] for loss in names]).all() for line in [*train, held_out])
    if len(train) >= 20:
        for loss in names:
            values = [line[loss] for line in train]
            assert np.mean(values[-3:]) < np.mean(values[:3]) - 0.2, (loss, values)
