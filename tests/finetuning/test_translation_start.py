"""The encoder and the decoder that a translation starts from."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
import small_tasks

from bert_jax.config import Config, MeshConfig, ModelConfig
from bert_jax.finetuning import settings
from bert_jax.finetuning.translation import task_of
from bert_jax.inference import model_dir
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.translation import TranslationTask
from bert_jax.training import warm_start
from bert_jax.training.train_step import build_step


def fresh(config: Config, task: TranslationTask) -> tuple[Any, Any]:
    """Returns parameters that look like fresh ones, and their facts."""
    step = build_step(config, task, make_mesh(MeshConfig(), jax.devices()[:1]))
    random = np.random.default_rng(7)
    params = jax.tree.map(
        lambda leaf: jax.device_put(random.normal(size=leaf.shape).astype('f'), leaf.sharding),
        step.abstract.params,
    )
    return params, step.info


@pytest.mark.parametrize(
    ('changes', 'own_checkpoint'),
    [
        ({}, False),
        ({'decoder_layers': 1}, True),
        ({'decoder_shares': 'embeddings'}, False),
        ({'decoder_shares': 'everything'}, False),
    ],
)
def test_a_decoder_starts_from_an_encoder(
    tmp_path: pathlib.Path, source: pathlib.Path, changes: dict[str, Any], own_checkpoint: bool
) -> None:
    """It starts from init_from or, if it has its own checkpoint, from init_decoder_from."""
    model, start = dataclasses.replace(small_tasks.MODEL, **changes), source
    config = small_tasks.configured(source, 'translate', model=changes)
    if own_checkpoint:
        other = dataclasses.replace(small_tasks.MODEL, initializer_range=0.1)
        start = small_tasks.pretrained_folder(tmp_path / 'other', other)
        config = dataclasses.replace(config, init_decoder_from=str(start))
        assert settings.start_from(config)[0].model == model
    config = dataclasses.replace(settings.one_step(config), model=model)
    begun, info = fresh(config, task_of(config, 2, 3, 0, 20))
    warm_start.check(config, begun, info, ('masked_lm',))
    params = jax.device_get(warm_start.initial_params(config, begun, info, True, ('masked_lm',)))
    saved = jax.device_get(model_dir.load(source).params)
    jax.tree.map(np.testing.assert_array_equal, params['encoder'], saved['encoder'])
    np.testing.assert_array_equal(params['masked_lm_bias'], saved['masked_lm_bias'])
    saved = jax.device_get(model_dir.load(start).params)
    decoder, count = params['decoder'], model.num_decoder_layers
    for name, values in decoder['layers'].items():
        if name == 'cross_attention':
            jax.tree.map(np.testing.assert_array_equal, values, begun['decoder']['layers'][name])
        else:
            lowest = jax.tree.map(lambda x: x[:count], saved['encoder']['layers'][name])
            jax.tree.map(np.testing.assert_array_equal, values, lowest)
    if 'embeddings' in decoder:
        theirs = saved['encoder']['embeddings']
        jax.tree.map(np.testing.assert_array_equal, decoder['embeddings'], theirs)


def test_what_does_not_fit_is_refused(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    def refuses(message: str, decoder: pathlib.Path | None = None, **sections: Any) -> None:
        config = small_tasks.configured(source, 'translate', **sections)
        config = dataclasses.replace(config, init_decoder_from=str(decoder or ''))
        with pytest.raises(ValueError, match=message):
            settings.start_from(config)

    wide: ModelConfig = dataclasses.replace(small_tasks.MODEL, intermediate_size=48)
    other = small_tasks.pretrained_folder(tmp_path / 'wide', wide)
    refuses('init_decoder_from=.* has intermediate_size=48, but .* has 64; choose', other)
    again = small_tasks.pretrained_folder(tmp_path / 'again')
    (again / 'vocab.txt').write_text('\n'.join([*small_tasks.PIECES[:-1], 'quoi']) + '\n')
    refuses('has another vocabulary .* Use a checkpoint of both languages', again)
    whole = small_tasks.fine_tuned_folder(tmp_path / 'whole', ('masked_lm', 'decoder'), ())
    refuses('is an encoder-decoder; give the checkpoint of an encoder', whole)
    shares = {'model': {'decoder_shares': 'everything'}}
    refuses('so the decoder starts from config.init_from; remove', other, **shares)
    for length in (1, 17):
        message = rf'max_target_length is {length}; expected 2 to data.max_seq_length \(16\), or 0'
        refuses(message, data={'max_target_length': length})
    refuses('min_target_length is 17; expected at most 16', eval={'min_target_length': 17})
    refuses("target_field is 'source'; expected another", data={'target_field': 'source'})
    refuses('decoder_layers is 3; .* layers of config.init_from', model={'decoder_layers': 3})
    refuses(
        'decoder_layers is 1; a decoder supports only 2',
        model=shares['model'] | {'decoder_layers': 1},
    )
