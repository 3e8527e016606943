"""Translation from files to scores and texts, with a tiny model."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath

from bert_jax import predict
from bert_jax.batch import synthetic
from bert_jax.config import Config, MeshConfig
from bert_jax.data.labelled.examples import Example
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning import predictions, printed, settings
from bert_jax.finetuning.task_data import TaskFacts
from bert_jax.finetuning.translation import TranslationProcessor
from bert_jax.models.generation import Search
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.sharding import shard_batch
from bert_jax.preflight.resolve import resolve, without_data
from bert_jax.tasks.translation import TranslationTask
from bert_jax.training import random_streams
from bert_jax.training.train_step import build_step

MODEL = dataclasses.replace(small_tasks.MODEL, vocab_size=24, decoder_layers=1)
VOCABULARY = tokenizer.WordPiece(small_tasks.PIECES, True)


def configured(source: pathlib.Path, folder: pathlib.Path, **sections: Any) -> Config:
    files = {
        'train_file': str(small_tasks.write_pairs(folder / 'train.tsv', 64, 0)),
        'eval_file': str(small_tasks.write_pairs(folder / 'dev.tsv', 20, 1)),
    }
    data = files | {'max_target_length': 8} | sections.pop('data', {})
    return small_tasks.configured(source, 'translate', data=data, **sections)


def train(config: Config, workdir: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        one = jax.devices()[:1]
        patch.setattr(jax, 'devices', lambda *_: one)
        resolve(config, epath.Path(workdir)).run()


def checked_texts(workdir: pathlib.Path) -> list[str]:
    """Asserts that the files of a run agree about its scores; returns its texts."""
    evaluations = [line for line in small_run.metrics(workdir) if line['split'] == 'eval']
    assert [line['step'] for line in evaluations] == [4, 8, 12]
    names = {'bleu', 'chrf', 'perplexity', 'token_accuracy'}
    assert all(names <= line.keys() for line in evaluations)
    scored = json.loads((workdir / 'eval_hypotheses.json').read_text())
    assert scored['scores']['bleu'] == evaluations[-1]['bleu']
    assert 'case:lc' in scored['signatures']['bleu']
    lines = (workdir / 'eval_hypotheses.txt').read_text().splitlines()
    assert len(lines) == 20 and (workdir / 'test_hypotheses.txt').read_text().splitlines() == lines
    results = json.loads((workdir / 'results.json').read_text())
    assert results['mean']['test_bleu'] == results['mean']['bleu'] == results['mean']['score']
    assert results['baseline']['meaning'] == 'if every text is copied'
    return lines


@pytest.mark.slow
def test_a_run(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run_predict: Callable[..., tuple[int, str, str]],
) -> None:
    """It is scored and writes its texts at each evaluation; stopped and resumed, it has the same
    bits. Its texts come from predict in each format, and from Python."""
    values = {'epochs': 3.0, 'log_every': 1, 'label_smoothing': 0.1}
    config = configured(source, tmp_path, train=values, optim={'fresh_learning_rate': 6e-3})
    test = (tmp_path / 'dev.tsv').read_text()
    (tmp_path / 'test.tsv').write_text(test)
    data = dataclasses.replace(config.data, test_file=str(tmp_path / 'test.tsv'))
    config = dataclasses.replace(config, data=data)
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    train(config, whole, monkeypatch)
    part = dataclasses.replace(config, train=dataclasses.replace(config.train, num_steps=8))
    for each in (part, config):
        train(each, stopped, monkeypatch)
    small_run.same_bits(stopped, whole, 12)

    lines = checked_texts(whole)

    sources = [line.split('\t')[0] for line in test.splitlines()[1:]]
    (tmp_path / 'new.txt').write_text('\n'.join([*sources[:3], '', *sources[3:]]) + '\n')
    flags = [f'--checkpoint={whole}', f'--input={tmp_path / "new.txt"}']
    assert run_predict(*flags, f'--output={tmp_path / "out.txt"}')[0] == 0
    assert (tmp_path / 'out.txt').read_text().split('\n') == [*lines[:3], '', *lines[3:], '']
    bert = predict.load(whole)
    for suffix in ('tsv', 'jsonl'):
        output = tmp_path / f'out.{suffix}'
        assert predictions.write_records(bert, [tmp_path / 'test.tsv'], output) == 20
    header, *rows = (tmp_path / 'out.tsv').read_text().splitlines()
    assert header == 'source\tinput_target\ttarget'
    assert [row.split('\t')[2] for row in rows] == lines
    records = map(json.loads, (tmp_path / 'out.jsonl').read_text().splitlines())
    assert [record['target'] for record in records] == lines

    assert bert.generate(sources) == lines and bert.generate(sources[0]) == lines[0]
    capsys.readouterr()
    printed.show_texts(bert, sources[:1], [], [], 1)
    assert capsys.readouterr().out.splitlines() == [sources[0], f'   {lines[0]}']
    with pytest.raises(ValueError, match='text 1 is 2; expected a string'):
        bert.generate(['a', 2])  # type: ignore[list-item]
    with pytest.raises(ValueError, match='num_beams is 0; expected 1 or more'):
        bert.generate('a', num_beams=0)
    with pytest.raises(ValueError, match='length_penalty is nan; expected a finite number'):
        bert.generate('a', num_beams=2, length_penalty=float('nan'))
    assert bert.embed(sources[:2]).shape == (2, 32)
    with pytest.raises(ValueError, match='an encoder-decoder does not fill masks'):
        bert.fill_mask('a [MASK]')
    with pytest.raises(ValueError, match='classify does not work with this model'):
        bert.classify('a film')


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='a decoder is split over devices as an encoder is')
def test_eight_devices_are_one() -> None:
    """The losses of two steps and the texts, with batches and parameters split over devices."""
    config = small_tasks.configured(pathlib.Path(), 'translate')
    config = dataclasses.replace(settings.one_step(config), model=MODEL)
    search = Search(2, 3, 0, 20, max_length=6, num_beams=2)
    task = TranslationTask(MODEL, search=search)
    phase = config.train.phases[0]
    found = []
    for devices, mesh in ((1, MeshConfig()), (8, MeshConfig(data=2, fsdp=2, tensor=2))):
        step = build_step(config, task, make_mesh(mesh, jax.devices()[:devices]))
        key = random_streams.root(0, 'threefry2x32')
        state, losses = step.init(key), []
        for seed in range(2):
            spec = task.batch_spec(phase)
            batch = shard_batch(synthetic(spec, seed), spec, step.mesh)
            state, sums = step.train(state, batch, key)
            losses.append(float(sums['loss'][0]))
        _, predicted = step.evaluate(state.params, batch)
        found.append((losses, np.asarray(predicted['written_ids'])))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_plan_and_benchmark_have_a_step() -> None:
    config = small_tasks.configured(pathlib.Path(), 'translate', data={'max_target_length': 8})
    config, task = without_data(dataclasses.replace(config, init_from='', model=MODEL))
    phase = config.train.phases[0]
    step = build_step(config, task, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)))
    assert 'while' in step.lower(phase).as_text() and task.flops(phase) > 0


def test_a_mistake_elsewhere_is_not_one_of_the_files(
    tmp_path: pathlib.Path, source: pathlib.Path
) -> None:
    """The files are checked without the vocabulary if the configuration is wrong."""
    config = configured(source, tmp_path, eval={'min_target_length': 9})
    resolver = resolve(config, epath.Path(tmp_path / 'run'))
    with pytest.raises(ValueError, match='min_target_length is 9; expected at most 8'):
        resolver.describe_vocabulary()
    assert '64 rows to train on, 20 held out' in resolver.describe_data()


def test_what_is_odd_about_targets_is_counted() -> None:
    config = small_tasks.configured(pathlib.Path(), 'translate', data={'max_target_length': 4})
    config = dataclasses.replace(config, model=small_tasks.MODEL)
    made = TranslationProcessor(config, VOCABULARY, TaskFacts())

    def counted(*targets: str) -> dict[str, int]:
        summary = Summary()
        examples = [Example('a film', target, None, '') for target in targets]
        split = made.encode(examples, summary, 'train')
        batch = split.rows.batch(np.arange(len(targets)), len(targets), 16)
        assert batch['target_ids'].shape == (len(targets), 4)
        assert (batch['target_ids'] == VOCABULARY.specials.sep).any(axis=1).all()
        return {name.split(' that')[0]: number for name, number in summary.lines().items()}

    assert counted('a film', 'The plot .') == {}
    found = counted('a film was good and bad', 'a féodal', *['the plot it'] * 20)
    assert found == {
        'targets of more than 4 tokens, cut': 1,
        'unknown tokens in targets': 1,
        'targets among the first 1,000': 1,
    }
    with pytest.raises(ValueError, match=r'not in the vocabulary.*Start from a checkpoint whose'):
        counted('le chat', 'a film')


def test_long_files_are_read_as_they_are_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more rows are read than fit a window."""
    bert = predict.load(small_tasks.fine_tuned_folder(tmp_path / 'm', ('masked_lm', 'decoder'), ()))
    (tmp_path / 'a.txt').write_text('a film\n' * 40)
    seen, made = list[str](), predictions.processor_of(bert)
    monkeypatch.setattr(TranslationProcessor, 'window', 8)
    none = lambda rows, _: {'written_ids': np.zeros((len(rows), 2), int)}  # noqa: E731
    monkeypatch.setattr(bert, 'predict', none)

    def watched() -> Iterator[Example]:
        for pair in made.read(str(tmp_path / 'a.txt'), Summary()):
            seen.append(pair.text)
            yield pair

    for i, _ in enumerate(predictions._predicted(bert, made, watched())):
        assert len(seen) == (i // 8 + 1) * 8
    assert i == 39
