"""The start of fine-tuning, and the settings that it decides."""

import dataclasses
import pathlib
from typing import Any

import pytest
import small_tasks
from etils import epath

from bert_jax.config import Config, DataConfig, ModelConfig, TrainConfig, finetuning, from_dict
from bert_jax.finetuning import settings
from bert_jax.inference import model_dir


def test_a_vocabulary_beside_that_of_the_checkpoint_is_refused() -> None:
    config = Config(init_from='there', data=DataConfig(vocab_file='vocab.txt'))
    with pytest.raises(ValueError, match=r'but config.init_from has a vocabulary'):
        settings.start_from(config)


@pytest.mark.parametrize(
    ('section', 'changes', 'message'),
    [
        (
            'model',
            {'hidden_size': 48},
            r'model.hidden_size is 48, but config.init_from has 32',
        ),
        (
            'data',
            {'lowercase': False},
            r'data.lowercase is False, but config.init_from has True',
        ),
        (
            '',
            {'reinit_layers': 3},
            r'reinit_layers is 3; expected 0 to 2, the number of layers of config.init_from',
        ),
        (
            'optim',
            {'freeze': '9'},
            r"optim.freeze is '9'; expected at most 2, the number of layers of config.init_from",
        ),
    ],
)
def test_settings_that_the_pretrained_model_decides(
    tmp_path: pathlib.Path, section: str, changes: dict[str, Any], message: str
) -> None:
    source = small_tasks.pretrained_folder(tmp_path / 'source')
    config = small_tasks.configured(source, 'text', **({section: changes} if section else {}))
    config = config if section else dataclasses.replace(config, **changes)
    with pytest.raises(ValueError, match=message):
        settings.start_from(config)


def test_dropout_of_heads_is_that_of_the_checkpoint_unless_it_is_given(
    tmp_path: pathlib.Path,
) -> None:
    model = dataclasses.replace(small_tasks.MODEL, classifier_dropout=0.2, span_dropout=0.3)
    source = small_tasks.pretrained_folder(tmp_path / 'source', model)
    config = small_tasks.configured(source, 'text', model={'span_dropout': 0.4})
    started = settings.start_from(config)[0].model
    assert (started.classifier_dropout, started.tagger_dropout) == (0.2, -1)
    assert started.span_dropout == 0.4


@pytest.mark.parametrize('layers', [1, 15])  # fewer and more than the default of 12
def test_limits_of_layers_are_those_of_the_checkpoint(tmp_path: pathlib.Path, layers: int) -> None:
    model = dataclasses.replace(small_tasks.MODEL, num_hidden_layers=layers)
    source = small_tasks.pretrained_folder(tmp_path / 'source', model)
    for count, fits in ((layers, True), (layers + 1, False)):
        values = finetuning('text').to_dict() | {'init_from': str(source), 'reinit_layers': count}
        values['optim']['freeze'], values['data']['max_seq_length'] = str(count), 16
        config = from_dict(values)
        if fits:
            assert settings.start_from(config)[0].reinit_layers == count
        else:
            with pytest.raises(ValueError, match=f'at most {layers}, the number of layers'):
                settings.start_from(config)


RATES = {'hidden_dropout_prob': 0.3, 'attention_probs_dropout_prob': 0.0, 'layerdrop': 0.2}


@pytest.mark.parametrize('given', [{}, {'hidden_dropout_prob': 0.1}, {'layerdrop': 0.0}])
def test_rates_are_those_of_the_checkpoint_unless_they_are_given(
    tmp_path: pathlib.Path, given: dict[str, float]
) -> None:
    """A rate that is given wins, even if it is the default."""
    model = dataclasses.replace(small_tasks.MODEL, **RATES)
    source = small_tasks.pretrained_folder(tmp_path / 'source', model)
    for start in (str(source), ''):
        values = finetuning('text').to_dict()
        values['model'] |= given
        values |= {'init_from': start, 'data': values['data'] | {'max_seq_length': 16}}
        if not start:
            values['data']['vocab_file'] = str(source)
        started = settings.start_from(from_dict(values))[0].model
        usual = RATES if start else {name: getattr(ModelConfig(), name) for name in RATES}
        assert {name: getattr(started, name) for name in RATES} == usual | given


def test_the_table_of_tokens_is_padded(tmp_path: pathlib.Path) -> None:
    """A padded table divides over a mesh with tensor parallelism."""
    source = small_tasks.pretrained_folder(tmp_path / 'source')
    config = small_tasks.configured(source, 'text', data={'pad_vocab_to_multiple_of': 8})
    assert settings.start_from(config)[0].model.vocab_size == 24
    config = dataclasses.replace(config, init_from='')
    data = dataclasses.replace(config.data, vocab_file=str(source / 'vocab.txt'))
    config = dataclasses.replace(config, data=data)
    assert settings.start_from(config)[0].model.vocab_size == 24


def test_the_runs_of_a_table_belong_together(tmp_path: pathlib.Path) -> None:
    config = Config(init_from='a', train=TrainConfig(seeds=2))
    workdir = epath.Path(tmp_path)
    settings.check_seeds(config, workdir)
    (tmp_path / 'seed_0').mkdir()
    (tmp_path / 'seed_0' / 'config.json').write_text(config.to_json())
    settings.check_seeds(config, workdir)
    one = dataclasses.replace(config, train=TrainConfig(seeds=1))
    with pytest.raises(ValueError, match=r'holds runs of several seeds, but .*seeds is 1'):
        settings.check_seeds(one, workdir)
    (tmp_path / 'config.json').write_text(one.to_json())
    with pytest.raises(ValueError, match=r'holds one run, but config.train.seeds is 2'):
        settings.check_seeds(config, workdir)


@pytest.mark.parametrize('run', ['seed_0', 'cola/seed_0'])
def test_a_folder_of_runs_names_them(tmp_path: pathlib.Path, run: str) -> None:
    (tmp_path / run).mkdir(parents=True)
    (tmp_path / run / 'config.json').touch()
    (tmp_path / run / '1_Pooling').mkdir()  # a part of the model, as in Sentence Transformers
    (tmp_path / run / '1_Pooling' / 'config.json').touch()
    with pytest.raises(ValueError, match=rf'its folders have; give {tmp_path / run}$'):
        model_dir.read_config(tmp_path)
    with pytest.raises(
        ValueError, match=r'absent does not exist; .* or a name on the Hugging Face Hub'
    ):
        model_dir.read_config(tmp_path / 'absent')
