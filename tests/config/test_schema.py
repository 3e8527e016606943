"""Wrong configurations are refused with a message that names the key and the remedy."""

import dataclasses
import importlib.util
import json
import logging
import pathlib

import pytest

from bert_jax import __version__
from bert_jax.config import (
    Config,
    ModelConfig,
    OptimConfig,
    Phase,
    default,
    from_dict,
    from_saved,
)
from bert_jax.models.presets import PRESETS

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'


MEMORY = {'mem_len': 8, 'reuse_len': 4}


def xlnet(others: dict | None = None, **changes: object) -> dict:
    """The values of a configuration of XLNet with changes of the model, and other keys."""
    model = dataclasses.asdict(PRESETS['xlnet-base-cased']) | changes
    return {'objective': 'plm', 'model': model} | (others or {})


def load(name: str) -> Config:
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return from_dict(module.get_config().to_dict())


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_every_config_is_valid_and_survives_json(path: pathlib.Path) -> None:
    config = load(path.stem)
    assert from_dict(config.to_dict()) == config
    assert from_saved(json.loads(config.to_json()), path) == config
    assert path.read_text().startswith('"""'), 'a config begins with what it is for'


def test_the_defaults_are_bert_base() -> None:
    assert from_dict(default().to_dict()) == Config()
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
        (
            {'train': {'num_steps': 2_000_000}},
            ['train.num_steps', '2000000', '1000000', 'init_from='],
        ),
        ({'train': {'accum_steps': 0}}, ['config.train.accum_steps', '0', 'positive']),
        ({'train': {'accum_steps': 3}}, ['train.phases[0]', 'accum_steps (3)']),
        ({'eval': {'batch_size': -1}}, ['config.eval.batch_size', '-1']),
        (
            {
                'optim': {'warmup_steps': 300},
                'train': {'phases': ((200, 16, 8, 2), (99, 32, 8, 4))},
            },
            [
                'config.optim.warmup_steps is 300; expected 0 to 299',
                '--config.optim.warmup_steps=29',
            ],
        ),
        ({'optim': {'warmup_steps': -1}}, ['config.optim.warmup_steps', '-1']),
        ({'optim': {'eps': 0.0}}, ['config.optim.eps is 0.0', 'more than 0']),
        ({'optim': {'schedule': 'constant', 'end_learning_rate': 1e-5}}, ['0 because', 'constant']),
        ({'optim': {'schedule': 'inverse_sqrt', 'end_learning_rate': 1e-5}}, ['end_learning_rate']),
        ({'optim': {'schedule': 'cosine', 'power': 1.0}}, ['config.optim.power', "'cosine'"]),
        ({'reinit_layers': 1}, ['config.reinit_layers is 1', '0 if init_from is empty']),
        ({'reinit_layers': -1, 'init_from': 'x'}, ['config.reinit_layers', '0 or more']),
        ({'train': {'seed': 2**32}}, ['config.train.seed is 4294967296', '2**32 - 1']),
        ({'train': {'seed': -1}}, ['config.train.seed is -1']),
        ({'train': {'seed': 2**32 - 1, 'seeds': 2}}, ['config.train.seed', 'train.seeds (2)']),
        (
            {'model': {'hidden_dropout_prob': 0.999995}},
            ['hidden_dropout_prob', '0 or 1 after rounding'],
        ),
        ({'model': {'attention_probs_dropout_prob': 2**-18}}, ['attention_probs', '0 or 1']),
        (
            {
                'data': {'task': 'ner'},
                'train': {'phases': [[6, 128, 32, 1]]},
            },
            ['config.optim.warmup_steps is 10000', 'steps of the run', 'optim.warmup_fraction'],
        ),
        ({'data': {'task': 'mrpc,squad'}}, ["'mrpc,squad'; expected", 'one or several of cola,']),
        ({'data': {'task': 'rte,rte'}}, ["config.data.task is 'rte,rte'; expected"]),
        ({'data': {'task': 'mrpc,'}}, ["config.data.task is 'mrpc,'; expected"]),
        ({'data': {'task': 'mrcp,rte'}}, ['Did you mean mrpc?']),
        ({'data': {'task': 'txt'}}, ["'txt'; expected pretrain, text", 'Did you mean text?']),
        ({'model': {'model_type': 'xlnet'}}, ['position_embedding_type', "'relative'", 'xlnet']),
        ({'model': {'position_embedding_type': 'relative'}}, ['position_embedding_type', 'bert']),
        ({'model': {'clamp_len': 9}}, ['config.model.clamp_len is 9', 'not xlnet']),
        (xlnet(pre_norm=True), ['config.model.pre_norm is True', 'False because']),
        (xlnet(reuse_len=8), ['config.model.reuse_len is 8', 'model.mem_len is 0']),
        (xlnet(mem_len=8), ['config.model.reuse_len is 0', '1 to 120', 'shortest row']),
        (xlnet(mem_len=8, reuse_len=128), ['config.model.reuse_len is 128', '1 to 120']),
        (
            xlnet({'train': {'phases': [[9_000, 8, 8, 2]]}}, **MEMORY),
            ['config.train.phases', 'rows of at least 9 tokens'],
        ),
        (xlnet({'objective': 'mlm'}, mem_len=8), ['config.model.mem_len is 8', "objective 'mlm'"]),
        (
            xlnet({'train': {'phases': [[9_000, 128, 8, 9], [9_000, 64, 4, 9]]}}, **MEMORY),
            ['config.train.phases', 'phases of one batch_size', '[4, 8]'],
        ),
        (
            xlnet({'data': {'static_copies': 2}}, **MEMORY),
            ['config.data.static_copies is 2', 'model.mem_len is not 0'],
        ),
        (
            xlnet({'data': {'mask_shares': (1.0, 0.0, 0.0)}}),
            ['config.data.mask_shares', "objective 'plm'"],
        ),
    ],
)
def test_a_mistake_is_named(values: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        from_dict(values)
    for word in words:
        assert word in str(raised.value)


def test_values_at_their_limits_work() -> None:
    model = {'hidden_dropout_prob': 2**-17, 'attention_probs_dropout_prob': 0.99999}
    found = from_dict({'model': model}).model
    assert {name: getattr(found, name) for name in model} == model
    optim = {'schedule': 'polynomial', 'power': 1.0, 'end_learning_rate': 1e-5}
    assert from_dict({'optim': optim}).optim.power == 1
    highest = from_dict({'train': {'seed': 2**32 - 1}, 'reinit_layers': 12, 'init_from': 'x'})
    assert (highest.train.seed, highest.reinit_layers) == (2**32 - 1, 12)


def test_a_saved_configuration_of_another_version_is_read(caplog: pytest.LogCaptureFixture) -> None:
    config = dataclasses.replace(Config(), optim=OptimConfig(learning_rate=1e-3))
    saved = json.loads(config.to_json())
    assert saved.pop('version') == __version__
    assert from_saved(saved, 'of/version/0.4/config.json') == config
    assert not caplog.records
    newer = saved | {'version': '9.0', 'decoder': {'layers': 2}}
    newer['model'] = saved['model'] | {'shared_layers': True}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert from_saved(newer, 'a/config.json') == config
    (line,) = caplog.messages
    assert line.startswith('a/config.json was written by bert_jax 9.0')
    assert line.endswith('ignores config.model.shared_layers, config.decoder')


@pytest.mark.parametrize(
    ('values', 'words'),
    [([], 'keys and values'), ({'model': 3}, 'config.model'), ({'optim': {'eps': '1'}}, 'float')],
)
def test_a_damaged_saved_configuration_is_refused(values: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_saved(values, 'config.json')


def test_a_saved_value_that_is_refused_today_is_read() -> None:
    assert from_saved({'optim': {'eps': 0.0}, 'reinit_layers': 3}, 'x').optim.eps == 0
