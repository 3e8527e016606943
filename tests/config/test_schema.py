"""Configuration: what is refused, and by what words."""

import dataclasses
import importlib.util
import pathlib

import pytest

from bert_jax.config import Config, ModelConfig, Phase, default, from_config_dict, from_dict

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'


def load(name: str) -> Config:
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return from_config_dict(module.get_config())


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_every_config_is_valid_and_survives_json(path: pathlib.Path) -> None:
    config = load(path.stem)
    assert from_dict(config.to_dict()) == config
    assert path.read_text().startswith('"""'), 'a config begins with what it is for'


def test_the_defaults_are_bert_base() -> None:
    assert from_config_dict(default()) == Config()
    assert load('base').model == ModelConfig()


@pytest.mark.parametrize('name', ['glue', 'text', 'squad', 'ner'])
def test_fine_tuning_is_as_devlin_et_al_did_it(name: str) -> None:
    config = load(f'finetune_{name}')
    assert (config.train.epochs, config.train.batch_size) == (3, 32)
    assert (config.optim.name, config.optim.schedule) == ('adamw', 'linear')
    assert (config.optim.warmup_fraction, config.optim.warmup_steps) == (0.1, 0)


def test_run_length_and_schedule_length() -> None:
    train = dataclasses.replace(Config().train, phases=(Phase(7, 8, 4, 1), Phase(5, 16, 4, 2)))
    assert dataclasses.replace(Config(), train=train).num_steps == 12
    shorter = dataclasses.replace(Config(), train=dataclasses.replace(train, num_steps=3))
    assert (shorter.num_steps, shorter.schedule_steps) == (3, 12)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'modell': {}}, ['config.modell', 'config.model?']),
        ({'model': {'hiden_size': 3}}, ['config.model.hiden_size', 'config.model.hidden_size']),
        ({'model': {'hidden_size': 3.5}}, ['config.model.hidden_size', 'int', '3.5']),
        ({'train': {'seed': True}}, ['config.train.seed', 'int', 'True']),
        ({'model': {'hidden_size': 100}}, ['config.model.hidden_size', '100', '12']),
        ({'model': {'hidden_act': 'swish'}}, ['config.model.hidden_act', 'swish', 'gelu_new']),
        ({'data': {'masked_lm_prob': 1.5}}, ['config.data.masked_lm_prob', '1.5']),
        ({'train': {'phases': []}}, ['config.train.phases', 'max_seq_length']),
        ({'train': {'phases': [[10, 128, 8]]}}, ['config.train.phases[0]', 'batch_size']),
        ({'train': {'phases': [[20_000, 1024, 8, 20]]}}, ['phases[0]', '1024', '512']),
        ({'train': {'num_steps': 2_000_000}}, ['config.train.num_steps', '2000000', '1000000']),
        ({'train': {'accum_steps': 0}}, ['config.train.accum_steps', '0', 'positive']),
        ({'train': {'accum_steps': 3}}, ['train.phases[0]', 'accum_steps (3)']),
        ({'eval': {'batch_size': -1}}, ['config.eval.batch_size', '-1']),
        ({'optim': {'warmup_steps': -1}}, ['config.optim.warmup_steps', '-1']),
    ],
)
def test_a_mistake_is_named(values: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        from_dict(values)
    for word in words:
        assert word in str(raised.value)
