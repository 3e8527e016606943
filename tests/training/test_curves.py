"""The picture of a run: its content for each kind of run, and the smoothing of curves."""

import dataclasses
import io
import json
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from bert_jax.config import Config, Phase
from bert_jax.training import curve_panels, curves, history
from bert_jax.training.curve_labels import LINE, spread
from bert_jax.training.curve_panels import smooth, smoothing_window

pytest.importorskip('matplotlib')
PHASES = (Phase(60, 32, 16, 5), Phase(40, 64, 8, 10))


def workdir(
    folder: pathlib.Path,
    train: Iterable[dict[str, Any]],
    evals: Iterable[dict[str, Any]] = (),
    config: Config = Config(),  # noqa: B008  (it is immutable)
    data: dict[str, Any] | None = None,
) -> str:
    """Writes the files of a run; returns its folder."""
    folder.mkdir(parents=True)
    lines = [line | {'split': 'train'} for line in train]
    lines += [line | {'split': 'eval'} for line in evals]
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'metrics.jsonl').write_text(text)
    (folder / 'config.json').write_text(config.to_json())
    if data is not None:
        (folder / 'corpus.json').write_text(json.dumps(data))
    return str(folder)


def pretrained(folder: pathlib.Path, rate: float = 1e-4, **data: Any) -> str:
    config = Config()
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, phases=PHASES),
        optim=dataclasses.replace(config.optim, learning_rate=rate),
    )
    more = {'learning_rate': rate, 'grad_norm': 2.0, 'tokens_per_second': 1e4, 'mfu': None}

    def values(step: int) -> dict[str, Any]:
        accuracies = {'mlm_accuracy': step / 200, 'nsp_accuracy': 0.5 + step / 400}
        losses = {'loss': 11 - step / 50, 'mlm_loss': 10.3 - step / 50, 'nsp_loss': 0.7}
        return {'step': step} | losses | accuracies

    train = [values(step) | more for step in range(2, 101, 2)]
    return workdir(folder, train, [values(50), values(100)], config, data)


def finetuned(folder: pathlib.Path, scores: list[dict[str, Any]], **data: Any) -> str:
    config = Config()
    train = dataclasses.replace(config.train, phases=(Phase(20, 64, 8, 1),), epochs=2.0)
    task = dataclasses.replace(config.data, task='text')
    reports = [{'step': n, 'loss': 1 / n, 'learning_rate': 0.1, 'accuracy': 0.5} for n in (4, 8)]
    evals = [{'step': 10 * i, 'loss': 0.5, **row} for i, row in enumerate(scores, 1)]
    config = dataclasses.replace(config, train=train, data=task, init_from='runs/tiny')
    return workdir(folder, reports, evals, config, data)


def texts(*workdirs: str) -> list[str]:
    """All texts of the picture of these runs."""
    names = history.names(workdirs)
    runs = [history.read(path, name) for path, name in zip(workdirs, names, strict=True)]
    figure = curves.draw(runs)
    figure.savefig(io.BytesIO(), format='png')
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def test_pretraining(tmp_path: pathlib.Path) -> None:
    """The picture has final values, baselines, phases, the configuration and the smoothing."""
    counted = {'frequent': 0.08, 'pairs': 0.22, 'new one': 0.44, 'eval_share': 1.0}
    shown = texts(pretrained(tmp_path / 'run', unigram_entropy=6.25, baselines=counted))
    for text in (
        *('masked tokens: loss, nats', 'masked tokens: accuracy, %', 'next sentence: accuracy, %'),
        *('learning rate', 'norm of the gradient', 'training tokens per second'),
        *('8.30', '50.0 %', '75.0 %', 'median 10,000'),  # the last values on held-out data
        *('unigram entropy 6.25', 'chance 50.0 %', 'most frequent token 8.0 %'),
        *('counted pairs 22.0 %', 'new one 44.0 %'),
        *('16 x 32', '8 x 64'),
        *('training, each report', 'training, mean of 5 reports', 'held out', 'uniform guess'),
    ):
        assert text in shown, text
    assert 'run' in [text.strip() for text in shown]
    about = next(text for text in shown if 'builtin' in text).replace('\n', ' ')
    assert '12 layers of 768' in about and '60 steps of 16 x 32, then 40 steps of 8 x 64' in about
    assert not any('share' in text for text in shown)


def test_filled_masks(tmp_path: pathlib.Path) -> None:
    run = pathlib.Path(pretrained(tmp_path / 'run'))
    guesses = [['range', 0.82], ['list', 0.1]]
    lines = [{'line': 'for i in ____(10): $x$', 'answer': '', 'guesses': guesses}]
    (run / 'examples.json').write_text(json.dumps({'step': 2500, 'lines': lines}))
    shown = texts(str(run))
    assert 'masked words after 2,500 steps' in shown
    assert any('____(10): $x$' in text and text.endswith('range 0.82') for text in shown)


def test_a_run_without_its_other_files(tmp_path: pathlib.Path) -> None:
    """It has neither an evaluation nor facts about its data."""
    shown = texts(workdir(tmp_path / 'old', [{'step': 5, 'mlm_loss': 7.25}]))
    assert '7.25' in shown
    assert not any('unigram' in text for text in shown)


def test_several_runs(tmp_path: pathlib.Path) -> None:
    a = pretrained(tmp_path / 'a' / 'run', 1e-4, unigram_entropy=6.0)
    b = pretrained(tmp_path / 'b' / 'run', 3e-4, unigram_entropy=6.0)
    config = pathlib.Path(b) / 'config.json'  # intervals do not hide what differs
    intervals = dict.fromkeys(('log_every', 'eval_every', 'checkpoint_every', 'keep'), 1)
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {'train': values['train'] | intervals}))
    shown = texts(a, b)
    assert any(text.startswith('optim.learning_rate: 0.0001 | 0.0003; train.') for text in shown)
    for text in ('a/run', 'b/run', 'held out'):
        assert text in shown, text
    assert shown.count('8.30') == 2 and shown.count('unigram entropy 6.00') == 1
    other = pretrained(tmp_path / 'c', 1e-4, unigram_entropy=5.0)
    assert 'unigram entropy 5.00 to 6.00' in texts(a, other)


@pytest.mark.parametrize(
    ('kind', 'scores', 'data', 'expected'),
    [
        (
            'classification',
            [{'accuracy': 0.5, 'matthews': 0.0, 'score': 0.5, 'total': 8}] * 2,
            {'labels': ['a', 'b'], 'baseline': {'name': 'accuracy', 'value': 0.45, 'meaning': ''}},
            ['held-out scores x 100', 'accuracy 50.0', 'matthews 0.0', 'baseline 45.0'],
        ),
        (
            'regression',
            [{'pearson': 0.25, 'spearman': 0.5, 'mse': 3.0, 'score': 0.25}],
            {},
            ['pearson 25.0', 'spearman 50.0'],
        ),
        (
            'question answering, in per cent',
            [{'exact': 40.0, 'f1': 52.5, 'score': 52.5}],
            {},
            ['held-out scores', 'f1 52.5', 'exact 40.0'],
        ),
        (
            'tagging',
            [{'precision': 0.5, 'recall': 0.4, 'f1': 0.44, 'f1/LOC': 0.1, 'score': 0.44}],
            {},
            ['f1 44.0', 'precision 50.0', 'recall 40.0'],
        ),
        (
            'a mean of scores',
            [{'f1': 0.5, 'accuracy': 0.7, 'score': 0.6}],
            {},
            ['score 60.0', 'f1 50.0', 'accuracy 70.0'],
        ),
        ('no scores yet', [], {}, ['loss']),
    ],
)
def test_fine_tuning(
    tmp_path: pathlib.Path,
    kind: str,
    scores: list[dict[str, Any]],
    data: dict[str, Any],
    expected: list[str],
) -> None:
    shown = texts(finetuned(tmp_path / 'run', scores, **data))
    for text in (*expected, 'epoch'):
        assert text in shown, (kind, text)
    assert not any('mse' in text or 'LOC' in text for text in shown)
    assert any('2 epochs of 10 steps' in text.replace('\n', ' ') for text in shown)


def test_the_formats(tmp_path: pathlib.Path) -> None:
    run = pretrained(tmp_path / 'run')
    begin = {'.png': b'\x89PNG', '.svg': b'<?xml', '.pdf': b'%PDF'}
    assert begin.keys() == set(curves.FORMATS)
    for suffix, magic in begin.items():
        output = tmp_path / f'curves{suffix}'
        curves.save([run], str(output))
        assert output.read_bytes().startswith(magic)


def test_matplotlib_is_missing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(ValueError, match=r"pip install '.\[plot\]'"):
        curves.save([pretrained(tmp_path / 'run')], str(tmp_path / 'p.png'))


def test_mistakes_in_a_workdir_are_named(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match='--workdir is the folder of a run'):
        history.read(str(tmp_path), '')
    seed = workdir(tmp_path / 'seeds' / 'seed_0', [], [{'step': 1}])
    with pytest.raises(ValueError, match=f'folders of their own: --workdir={seed}$'):
        history.read(str(tmp_path / 'seeds'), '')
    with pytest.raises(ValueError, match='no line of the train split'):
        history.read(seed, '')
    file = pathlib.Path(seed) / 'metrics.jsonl'
    file.write_text('{"step": 1, "split": "train"}\n{"st')
    assert len(history.read(seed, '').lines['train']) == 1
    assert 'metrics.jsonl: 1 broken line left out' in caplog.text
    file.write_text('{"step": 1, "split": "train"}\n')
    (file.parent / 'corpus.json').write_text('{')
    with pytest.raises(ValueError, match=r'corpus.json cannot be read'):
        history.read(seed, '')


def test_steps_and_epochs_are_not_mixed(tmp_path: pathlib.Path) -> None:
    runs = [pretrained(tmp_path / 'a'), finetuned(tmp_path / 'b', [{'step': 1, 'score': 0.5}])]
    with pytest.raises(ValueError, match='b is drawn by epochs and a by steps'):
        curves.save(runs, str(tmp_path / 'p.png'))


def test_names_of_workdirs() -> None:
    assert history.names(['runs/a', 'runs/b/']) == ['a', 'b']
    assert history.names(['x/a/seed_0', 'y/b/seed_0']) == ['a/seed_0', 'b/seed_0']
    assert history.names(['gs://bucket/a/run', 'gs://bucket/b/run']) == ['a/run', 'b/run']


def test_smoothing_keeps_length_constants_and_ends() -> None:
    np.testing.assert_allclose(smooth(np.full(20, 3.0)), 3)
    np.testing.assert_allclose(smooth(np.arange(100.0))[:95], np.arange(95))
    noise = np.random.default_rng(0).normal(size=1000)
    assert smooth(noise)[100:].std() < 0.2 * noise.std()
    assert [smoothing_window(n) for n in (1, 19, 20, 100, 10**6)] == [1, 1, 3, 11, 101]


def test_labels_do_not_overlap() -> None:
    values, height = [1.0, 1.01, 1.02, 5.0], 200.0
    shifts = np.array(spread(values, (0.0, 10.0), height))
    places = np.array(values) / 10 * height + shifts
    assert (np.diff(places) > LINE - 0.5).all()
    assert shifts[3] == 0, 'far from the others'


def test_panels_of_other_objectives(tmp_path: pathlib.Path) -> None:
    """Each loss that a run reports has a panel; the loss of masked tokens is first."""
    line = {'step': 1, 'loss': 9.0, 'cosine_loss': 1.0, 'sop_loss': 0.6, 'mlm_loss': 8.0}
    line |= {'mlm_accuracy': 0.1, 'x_loss': 1.0, 'sop_accuracy': 0.5}
    run = history.read(workdir(tmp_path / 'run', [line]), '')
    titles = [panel.title for panel in curve_panels.upper([run])]
    masked = ['masked tokens: loss, nats', 'masked tokens: accuracy, %']
    other = ["teacher's hidden states: loss, 1 - cosine", 'x: loss, nats']
    assert titles == [*masked, 'sentence order: accuracy, %', *other]
