"""Parameters that another run takes from a checkpoint, with config.init_from."""

import dataclasses
import logging
import pathlib

import jax
import jax.numpy as jnp
import pytest
from small_checkpoint import abstract, assert_same, damage, data_file, save, small

from bert_jax.training.checkpoint import Checkpoints, load_params


def test_init_from_takes_parameters_of_workdir_or_checkpoint(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 10, 20)
    for source, step in ((tmp_path, 20), (tmp_path / 'checkpoints/10', 10)):
        assert_same(load_params(source, abstract(small(0)).params), small(step).params)


def test_init_from_names_what_does_not_fit(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 10)
    wanted = abstract(small(0)).params
    other = {
        'kernel': jax.ShapeDtypeStruct((20, 16), jnp.float32),
        'bias': jax.ShapeDtypeStruct((7,), jnp.bfloat16),
        'scale': wanted['bias'],
    }
    with pytest.raises(ValueError) as error:
        load_params(tmp_path, other)
    message = str(error.value)
    assert 'kernel is float32[20, 150]; the model needs float32[20, 16]' in message
    assert 'bias is float32[7]; the model needs bfloat16[7]' in message
    assert 'scale is missing; the model needs' in message


def test_init_from_counts_what_it_leaves(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 10)
    with caplog.at_level(logging.INFO):
        taken = load_params(tmp_path, {'bias': abstract(small(0)).params['bias']})
    assert set(taken) == {'bias'}
    assert '1 parameter of' in caplog.text and '(first: kernel)' in caplog.text


@pytest.mark.parametrize('how', ['half', 'flipped', 'missing'])
def test_init_from_a_damaged_checkpoint_is_refused(tmp_path: pathlib.Path, how: str) -> None:
    checkpoints = Checkpoints(tmp_path, 9)
    checkpoints.save(10, dataclasses.replace(small(10), opt_state={}))  # so that it hits parameters
    checkpoints.close()
    damage(data_file(tmp_path, 10), how)
    with pytest.raises(ValueError, match='checkpoints/10 is damaged'):
        load_params(tmp_path, abstract(small(0)).params)


def test_init_from_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match='has no checkpoint'):
        load_params(tmp_path / 'absent', {})
