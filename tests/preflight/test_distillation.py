"""A run with a teacher: initialization, records of the run, and teachers that are refused."""

import dataclasses
import json
import pathlib
import random
import shutil
from typing import Any

import jax
import numpy as np
import pytest
import random_parameters
import small_tasks
from etils import epath
from small_run import metrics, same_bits, saved_arrays

from bert_jax.config import Config, ModelConfig, default, from_dict
from bert_jax.convert.folders import convert_out
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.models.heads import HEADS
from bert_jax.models.presets import PRESETS
from bert_jax.preflight import checks, distillation
from bert_jax.preflight.pretraining import Pretraining
from bert_jax.preflight.resolve import with_converted_start, without_data
from bert_jax.tasks.distillation import DistillTask
from bert_jax.training import checkpoint, teacher
from bert_jax.training.run import as_given

pytestmark = pytest.mark.usefixtures('one_device')
TEACHER = dataclasses.replace(small_tasks.MODEL, num_hidden_layers=3)


def save(
    folder: pathlib.Path,
    seed: int = 0,
    model: ModelConfig = TEACHER,
    heads: tuple[str, ...] = ('pooler', 'masked_lm'),
    pieces: list[str] = small_tasks.PIECES,
) -> None:
    folder.mkdir(exist_ok=True)
    params = random_parameters.like_fresh(model, heads, seed=seed)
    model_dir.save(folder, Config(model=model), params, tokenizer.WordPiece(pieces, True))


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with a text file, which has one document per line, and a teacher."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    for name, count in (('train.txt', 60), ('held_out.txt', 10)):
        lines = [small_tasks.sentence(rng, 'anna') + '\n' for _ in range(count)]
        (tmp_path / name).write_text(''.join(lines))
    save(tmp_path / 'teacher')
    return tmp_path


def configured(**changes: Any) -> Config:
    values = default()
    values.model.update(dataclasses.asdict(small_tasks.MODEL))
    values.update_from_flattened_dict(
        {
            'objective': 'distill',
            'distill.teacher': 'teacher',
            'model.type_vocab_size': 0,
            'model.vocab_size': 30522,
            'model.hidden_dropout_prob': 0.1,
            'data.corpus': 'text:train.txt',
            'data.eval_corpus': 'text:held_out.txt',
            'data.documents': 'line',
            'data.cache_dir': 'cache',
            'optim.warmup_steps': 0,
            'train.phases': ({'steps': 4, 'max_seq_length': 16, 'batch_size': 8},),
            'train.eval_every': 0,
            'train.log_every': 1,
        }
        | {name.replace('__', '.'): value for name, value in changes.items()}
    )
    return from_dict(values.to_dict())


def run(workdir: str, **changes: Any) -> pathlib.Path:
    Pretraining(configured(**changes), epath.Path(workdir), pathlib.Path('cache')).run()
    return pathlib.Path(workdir)


@pytest.mark.slow
def test_a_run_and_its_resumption(here: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    whole = run('whole')
    assert 'start from these layers of the teacher: 0, 2' in caplog.text
    lines = metrics(whole)
    names = {'kl_loss', 'mlm_loss', 'cosine_loss', 'mlm_accuracy'}
    assert all(set(line) >= names for line in lines) and lines[-1]['split'] == 'eval'
    assert json.loads((whole / 'corpus.json').read_text())['teacher']
    saved = saved_arrays(whole, 4)
    assert not [name for name in saved if 'teacher' in name or 'frozen' in name]
    sizes = {
        name: np.shape(x)[0] for name, x in saved.items() if '/layers/' in name or 'layers' in name
    }
    assert sizes and set(sizes.values()) == {2}  # the student's, in every array of the state
    run('parts', train__num_steps=2)
    caplog.clear()
    run('parts')
    assert 'continuing from step 2 of 4' in caplog.text
    # A resumed run does not initialize the student again.
    assert 'of the teacher' not in caplog.text
    same_bits(pathlib.Path('parts'), whole, 4)
    shutil.rmtree('teacher')
    save(here / 'teacher', seed=1)
    with pytest.raises(
        ValueError, match=r'teacher has the parameters \w+, but that of the run had \w+'
    ):
        run('whole')


def test_what_a_student_takes(here: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    config = configured(distill__layers=(2, 0), model__intermediate_size=48)
    step = Pretraining(config, epath.Path('run'), pathlib.Path('cache')).step
    fresh = step.init(jax.random.key(0))
    state, frozen = teacher.begin(step.config, step, fresh, jax.random.key(1))
    theirs = model_dir.load('teacher').arrays()
    ours = {
        name: np.asarray(x) for name, x in teacher.flatten(jax.device_get(state.params)).items()
    }
    before = teacher.flatten(jax.device_get(fresh.params))
    for name, value in ours.items():
        if 'intermediate' in name or 'layers/output/kernel' in name:
            np.testing.assert_array_equal(value, before[name], name)
        elif '/layers/' in name:
            np.testing.assert_array_equal(value, theirs[name][[2, 0]], name)
        else:
            np.testing.assert_array_equal(value, theirs[name], name)
    for name, value in teacher.flatten(jax.device_get(frozen)).items():
        np.testing.assert_array_equal(value, theirs[name], name)
    assert 'fresh, because the teacher has no such array: encoder/layers/interm' in caplog.text
    assert 'not taken from the teacher: encoder/embeddings/token_type_embeddings' in caplog.text
    random_start = dataclasses.replace(config.distill, init_from_teacher=False)
    config = dataclasses.replace(step.config, distill=random_start)
    state, _ = teacher.begin(config, step, fresh, jax.random.key(1))
    assert state is fresh


OTHER = [*small_tasks.PIECES[:-1], 'whom']


@pytest.mark.parametrize(
    ('made', 'changes', 'message'),
    [
        ({}, {'distill__teacher': ''}, 'config.distill.teacher is missing'),
        ({}, {'distill__teacher': 'nowhere'}, 'config.distill.teacher=nowhere: nowhere does not'),
        (
            {'pieces': OTHER},
            {'data__vocab_file': 'vocab.txt'},
            '20 and 20 tokens, with another',
        ),
        (
            {'pieces': OTHER[:-1]},
            {'data__vocab_file': 'vocab.txt'},
            '19 and 20 tokens, with',
        ),
        ({'heads': ('pooler',)}, {}, 'has no masked-LM head'),
        ({}, {'model__hidden_size': 16}, 'hidden_size is 16, but the teacher has 32'),
        ({'model': dataclasses.replace(TEACHER, max_position_embeddings=8)}, {}, 'positions of co'),
        ({}, {'distill__layers': (7, 8)}, r'config.distill.layers is \(7, 8\)'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_does_not_fit_is_named(
    here: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    made: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    (here / 'vocab.txt').write_text('\n'.join(small_tasks.PIECES) + '\n')
    shutil.rmtree(here / 'teacher')
    save(here / 'teacher', **made)
    with pytest.raises(ValueError, match=message):
        run('run', **changes)
    assert checks.check(configured(**changes), epath.Path('run')) == 2
    assert not pathlib.Path('run').exists()


def test_other_objectives_do_not_read_a_teacher() -> None:
    with pytest.raises(ValueError, match=r"teacher.*'mlm' does not read it"):
        configured(objective='mlm', distill__teacher='x')


def test_without_data(here: pathlib.Path) -> None:
    """plan and benchmark read the teacher; without one, they assume twice the student's layers."""
    config, task = without_data(configured(data__pad_vocab_to_multiple_of=16))
    assert isinstance(task, DistillTask)
    assert (task.teacher_config.num_hidden_layers, config.model.vocab_size) == (3, 32)
    assert task.teacher_config.vocab_size == 32 and task.config.num_hidden_layers == 2
    _, task = without_data(configured(distill__teacher=''))
    assert isinstance(task, DistillTask) and task.teacher_config.num_hidden_layers == 4
    assert set(HEADS) >= {*task.teacher_model.heads}


def test_a_teacher_of_transformers(here: pathlib.Path) -> None:
    """plan and benchmark convert it, and a run records the folder that the user gave."""
    convert_out('hf', here / 'teacher', here / 'theirs')
    given = configured(distill__teacher='theirs')
    _, task = without_data(given)
    assert isinstance(task, DistillTask) and task.teacher_config.num_hidden_layers == 3
    converted = with_converted_start(given)
    assert converted.distill.teacher.startswith('cache')
    made = Pretraining(converted, epath.Path('run'), pathlib.Path('cache'), given)
    (planned,) = made.runs()
    assert planned.start_lines == {} or planned.given is given
    assert as_given(planned.config, planned.given).distill.teacher == 'theirs'
    assert made.describe_teacher().startswith('theirs: bert, 3 layers')


@pytest.mark.parametrize(
    ('student', 'of', 'says'),
    [
        ('distilbert-base', 'bert-base', ''),
        ('roberta-base', 'xlm-roberta-large', ''),
        (
            'distilbert-base',
            'roberta-base',
            'a roberta, whose rows have other .* than .*=distil',
        ),
        ('bert-base', 'xlm-mlm-en-2048', 'is a xlm, whose rows have other special tokens than'),
        ('xlm-mlm-tlm-xnli15-1024', 'two', 'type_vocab_size is 15; expected 2, the languages'),
    ],
)
def test_the_rows_of_student_and_teacher(student: str, of: str, says: str) -> None:
    two = dataclasses.replace(PRESETS['xlm-mlm-tlm-xnli15-1024'], type_vocab_size=2)
    models = PRESETS[student], two if of == 'two' else PRESETS[of]
    if not says:
        distillation._check_rows('DIR', *models)
        return
    with pytest.raises(ValueError, match=says):
        distillation._check_rows('DIR', *models)


@pytest.mark.slow
def test_a_padded_vocabulary(here: pathlib.Path) -> None:
    workdir = run('run', data__pad_vocab_to_multiple_of=16, train__num_steps=1)
    config, vocabulary = model_dir.read_config(workdir)
    assert vocabulary is not None and config.model.vocab_size == 32 > vocabulary.vocab_size
    (table,) = (
        x for name, x in saved_arrays(workdir, 1).items() if 'word_emb' in name and 'params' in name
    )
    assert np.ptp(table[vocabulary.vocab_size :]) > 10 * config.optim.learning_rate  # random rows
    assert distillation.recorded(configured())['teacher'] == checkpoint.fingerprint('teacher')
