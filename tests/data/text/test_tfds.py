"""A dataset of TFDS as a corpus."""

import numpy as np
import pytest

from bert_jax.config import DataConfig
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers


@pytest.fixture(scope='module')
def tfds_dir(tmp_path_factory):
    """A data_dir in which a small dataset of several shards is prepared."""
    tfds = pytest.importorskip('tensorflow_datasets')

    class TinyProse(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            features = {'text': tfds.features.Text(), 'title': np.str_, 'label': np.int32}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples(), 'validation': self._generate_examples()}

        def _generate_examples(self):
            for i in range(60):
                yield i, {'text': f'Paragraph {i}.\n\nAnd more.', 'title': f'T{i}', 'label': i}

    directory = tmp_path_factory.mktemp('tfds')
    config = tfds.download.DownloadConfig(num_shards=3)
    TinyProse(data_dir=str(directory)).download_and_prepare(download_config=config)
    return str(directory)


def tfds_documents(corpus, directory, **options):
    source = readers.source(DataConfig(corpus=corpus, data_dir=directory, **options))
    return list(source.read(Summary()))


def test_tfds(tfds_dir):
    documents = tfds_documents('tfds:tiny_prose:train', tfds_dir)
    assert sorted(documents) == sorted([f'Paragraph {i}.', 'And more.'] for i in range(60))
    assert documents == tfds_documents('tfds:tiny_prose:train', tfds_dir)
    for split in ('1.0.0:train[:50%]', 'train[:30]', 'train[:10]+train[10:30]'):
        assert tfds_documents(f'tfds:tiny_prose:{split}', tfds_dir) == documents[:30]
    titles = tfds_documents('tfds:tiny_prose:validation', tfds_dir, text_field='title')
    assert sorted(titles) == sorted([f'T{i}'] for i in range(60))


@pytest.mark.parametrize(
    'corpus, field, message',
    [
        ('tfds:tiny_prose:test', 'text', r"no split 'test'; it has \['train', 'validation'\]"),
        ('tfds:tiny_prose:train', 'label', r"no text in feature 'label', only in \['text'"),
        ('tfds:tiny_prose:train', 'body', r'set config\.data\.text_field'),
        ('tfds:no_such_thing:train', 'text', r"cannot find 'no_such_thing' \(.*not found"),
        ('tfds:tiny_prose', 'text', r'expected tfds:NAME\[/CONFIG\]:SPLIT'),
    ],
)
def test_tfds_mistakes(tfds_dir, corpus, field, message):
    with pytest.raises(ValueError, match=message):
        tfds_documents(corpus, tfds_dir, text_field=field)
