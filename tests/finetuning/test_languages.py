"""The language of a text: in fine-tuning, in predictions, in pretraining, and in conversions."""

import dataclasses
import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest
import random_parameters
import small_tasks
from etils import epath
from kinds import tiny

from bert_jax import predict
from bert_jax.config import Config, DataConfig, ModelConfig, default, from_dict, from_saved
from bert_jax.convert import hf
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.data import model_languages
from bert_jax.data.text import languages
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning import settings
from bert_jax.finetuning.datasets import load_task_data
from bert_jax.inference import model_dir
from bert_jax.models.presets import PRESETS
from bert_jax.preflight.pretraining import Pretraining

XLM = dataclasses.replace(
    tiny(PRESETS['xlm-mlm-tlm-xnli15-1024']), type_vocab_size=3, languages='ar,en,fr'
)
TEXT = "a l'film was good"


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of bert_jax with an XLM of three languages and a vocabulary of XLM."""
    pytest.importorskip('sacremoses')
    where = tmp_path_factory.mktemp('languages') / 'xlm'
    where.mkdir()
    words = tokenizer.train([*small_tasks.WORDS, TEXT] * 9, 120, True, 'xlm_bpe')
    model = dataclasses.replace(XLM, vocab_size=words.vocab_size)
    config = Config(model=model, data=DataConfig(language='en'))
    params = random_parameters.like_fresh(model, ('masked_lm',))
    model_dir.save(where, config, params, words)
    return where


@pytest.mark.parametrize(('language', 'number'), [('', 1), ('en', 1), ('ar', 0), ('fr', 2)])
def test_rows_of_fine_tuning_have_the_number_of_their_language(
    folder: pathlib.Path, tmp_path: pathlib.Path, language: str, number: int
) -> None:
    train = small_tasks.write_texts(tmp_path / 'train.jsonl', 40, 0)
    data = {'train_file': str(train), 'language': language}
    config, vocabulary = settings.start_from(
        small_tasks.configured(folder, 'text', data=data, model=dataclasses.asdict(ModelConfig()))
    )
    assert config.data.language == (language or 'en')  # what the workdir records
    assert vocabulary.language == (language or 'en')
    rows = load_task_data('text', config, vocabulary).train
    assert set(np.unique(rows.token_type_ids)) == {number}


def test_predictions_are_in_the_language_of_the_text(folder: pathlib.Path) -> None:
    vectors = {}
    for language in ('', 'en', 'fr'):
        bert = predict.load(folder, language=language)
        assert bert.encoder.encode([TEXT])[0].token_type_ids[0] == (2 if language == 'fr' else 1)
        assert bert.encoder.vocabulary.language == (language or 'en')
        vectors[language] = bert.embed(TEXT)
    np.testing.assert_array_equal(vectors[''], vectors['en'])
    assert np.abs(vectors['fr'] - vectors['en']).max() > 1e-3
    assert 'languages: ar,en,fr' in repr(bert)
    with pytest.raises(ValueError, match=r"'de'; expected one of .* the model: ar, en, fr"):
        predict.load(folder, language='de')


BERT = ModelConfig()
WORDPIECE = tokenizer.WordPiece([*tokenizer.SPECIALS], True)


@pytest.mark.parametrize(
    ('model', 'says'),
    [
        (XLM, "language is 'de'; expected one of the languages of the model: ar, en, fr"),
        (dataclasses.replace(XLM, languages=''), 'does not name its 3 languages. Add lang2id'),
        (dataclasses.replace(XLM, languages='fr', type_vocab_size=0), 'of the model: fr'),
        (BERT, 'neither the model nor its vocabulary depends on the language'),
    ],
)
def test_a_language_that_is_not_known(model: ModelConfig, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        model_languages.check('de', model, WORDPIECE)


@pytest.mark.parametrize(
    ('names', 'default_language', 'expected'),
    [
        (['en', 'fr', 'en-fr'], '', {'en': (1,), 'fr': (2,), 'en-fr': (1, 2)}),
        ([''], 'fr', {'': (2,)}),
        ([''], '', {'': (0,)}),
        (['en', 'de'], '', "data.corpus is '.*'; expected languages of the model, without de"),
        ([''], 'de', "data.language is 'de'; expected languages .* without de; it has ar, en, fr"),
    ],
)
def test_pretraining_uses_the_numbers_of_the_checkpoint(
    names: list[str], default_language: str, expected: Any
) -> None:
    data = DataConfig(language=default_language)
    objective: Any = 'mlm+tlm' if 'en-fr' in names else 'mlm'
    config = Config(model=XLM, data=data, objective=objective)
    known = [name for name in names if name]
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            languages.check(known, config)
        return
    languages.check(known, config)
    for name, numbers in expected.items():
        of_text = languages.of_part(name, default_language)
        assert model_languages.row_format(XLM, *of_text).types == numbers


def test_a_run_names_the_languages_of_its_corpus(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for name in ('en', 'fr'):
        (tmp_path / f'{name}.txt').write_text('\n\n'.join([TEXT + '. It was bad.'] * 3))
    corpus = ','.join(f'{name}=text:{tmp_path}/{name}.txt' for name in ('fr', 'en'))
    values = default().to_dict() | {'objective': 'mlm'}
    values['data'] |= {'corpus': corpus, 'tokenizer': 'xlm_bpe'}
    values['model'] |= dataclasses.asdict(XLM) | {'languages': '', 'type_vocab_size': 2}
    values['train']['phases'] = [[20_000, 16, 8, 2]]
    for start, found in (('', 'fr,en'), (str(folder), 'ar,en,fr')):
        if start:
            values['model'] = default().to_dict()['model']
        config = from_dict(values | {'init_from': start})
        run = Pretraining(config, epath.Path(tmp_path / 'run'), tmp_path / 'cache')
        assert run.run_config.model.languages == found
        assert run.task.config.languages == found


def test_lang2id_is_kept(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    convert_out('hf', folder, tmp_path / 'hf')
    path = tmp_path / 'hf' / 'config.json'
    values = json.loads(path.read_text())
    assert values['lang2id'] == {'ar': 0, 'en': 1, 'fr': 2} and values['lang_id'] == 1
    assert values['id2lang'] == {'0': 'ar', '1': 'en', '2': 'fr'} and values['n_langs'] == 3
    for changes, default_language in (({}, 'en'), ({'lang_id': 0}, 'en'), ({'lang_id': 2}, 'fr')):
        path.write_text(json.dumps(values | changes))
        found = hf.read(tmp_path / 'hf')
        assert (found.model.languages, found.language) == ('ar,en,fr', default_language)
        assert not found.notes
    convert_in('hf', tmp_path / 'hf', tmp_path / 'back')
    config, _ = model_dir.read_config(tmp_path / 'back')
    assert (config.model.languages, config.data.language) == ('ar,en,fr', 'fr')


def test_the_default_of_older_versions_is_not_a_choice() -> None:
    values = Config(data=DataConfig(language='en')).to_dict()
    assert from_saved(values, 'config.json').data.language == 'en'
    del values['model']['languages']
    assert from_saved(values, 'config.json').data.language == ''
    values['data']['language'] = 'fr'
    assert from_saved(values, 'config.json').data.language == 'fr'


def test_the_language_of_a_vocabulary_counts_unless_one_is_given(tmp_path: pathlib.Path) -> None:
    pytest.importorskip('sacremoses')
    from bert_jax.data.store.preparation import Preparation

    words = tokenizer.train([TEXT] * 9, 120, True, 'xlm_bpe', language='fr')
    words.save(tmp_path)
    source = languages.Source(lambda summary: iter(()), 'text')
    for given, expected in (('', 'fr'), ('en', 'en'), ('de', 'de')):
        data = DataConfig(vocab_file=str(tmp_path), language=given)
        wanted = Preparation(data, source, 100)
        assert wanted.language == wanted.made_from['language'] == expected
        assert wanted.given_vocabulary.language == expected
    assert Preparation(DataConfig(), source, 100).made_from['language'] == 'en'
