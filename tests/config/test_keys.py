"""Facts about configuration keys: who reads them, what may change on resume, the choices."""

import dataclasses

import pytest

from bert_jax.config import (
    Config,
    OptimConfig,
    architecture_fields,
    choices,
    finetuning,
    free_on_resume,
    from_dict,
    keys,
    refuse_unread,
    unread_keys,
)
from bert_jax.convert.families import FAMILIES
from bert_jax.models.encoder import REMAT_POLICIES
from bert_jax.models.heads import MODELS
from bert_jax.models.layers import ACTIVATIONS
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.training.optimizer import make_schedule


def changed(config: Config, key: str) -> Config:
    """Returns `config` with another value of `key`."""
    value = keys.get(config, key)
    other = {bool: lambda: not value, str: lambda: value + 'x', tuple: lambda: value[:1]}
    new = other.get(type(value), lambda: value + 1)()
    section, _, name = key.rpartition('.')
    if not section:
        return dataclasses.replace(config, **{name: new})
    part = dataclasses.replace(getattr(config, section), **{name: new})
    return dataclasses.replace(config, **{section: part})


@pytest.mark.parametrize(('config', 'kind'), [(Config(), 'pretraining'), (None, 'finetuning')])
def test_a_key_that_a_run_does_not_read_is_refused(config: Config | None, kind: str) -> None:
    config = config or from_dict(finetuning('sst2').to_dict())
    assert config.kind == kind
    refuse_unread(config)
    refused = {key for key in keys.KEYS if unread_keys(changed(config, key))}
    ours, theirs = (
        {'train.best', 'train.seeds', 'eval.n_best', 'optim.warmup_fraction'},
        {
            'train.phases',
            'train.eval_every',
            'eval.max_batches',
            'data.corpus',
            'data.masked_lm_prob',
        },
    )
    expected, free = (ours, theirs) if kind == 'pretraining' else (theirs, ours)
    assert refused >= expected and not refused & free
    for key in refused:
        with pytest.raises(ValueError, match=rf'does not read config\.{key}=.*Remove'):
            refuse_unread(changed(config, key))
        assert free_on_resume(key, config.kind)


def test_no_key_is_read_by_no_run() -> None:
    tuning = from_dict(finetuning('sst2').to_dict())
    for key in keys.KEYS:
        unread = [unread_keys(changed(c, key)) for c in (Config(), tuning)]
        assert not all(unread), key


def test_what_may_change_on_resume() -> None:
    for key in ('train.keep', 'mesh.fsdp', 'data.corpus', 'init_from', 'model.remat'):
        assert free_on_resume(key)
    for key in ('optim.eps', 'model.hidden_size', 'train.seed', 'eval.n_best', 'data.seed'):
        assert not free_on_resume(key)


def test_the_architecture() -> None:
    assert {'vocab_size', 'hidden_act', 'layer_norm_eps'} < set(architecture_fields())
    assert not {'dtype', 'hidden_dropout_prob', 'attention'} & set(architecture_fields())


def test_every_choice_is_implemented() -> None:
    assert {*choices('model.hidden_act'), 'tanh'} == set(ACTIVATIONS)
    assert set(choices('model.summary_activation')) < set(ACTIVATIONS)
    assert set(choices('model.model_type')) == set(MODELS) == set(FAMILIES)
    assert set(choices('objective')) == set(OBJECTIVES)
    assert set(choices('model.remat')) == {'none', *REMAT_POLICIES}
    for schedule in choices('optim.schedule'):
        optim = OptimConfig(schedule=schedule, warmup_steps=0)
        assert make_schedule(Config(optim=optim))(0) == pytest.approx(1e-4)
    assert choices('train.seed') == ()
