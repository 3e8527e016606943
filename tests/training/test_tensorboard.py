"""TensorBoard's events: one chart for training and evaluation, groups, texts, old workdirs."""

import json
import math
import pathlib

import pytest
from event_files import events, scalars, starts

from bert_jax.config import Config
from bert_jax.training.metrics import MetricsWriter
from bert_jax.training.tensorboard import charted, tag


def test_both_curves_of_a_metric_have_one_name(tmp_path: pathlib.Path) -> None:
    writer = MetricsWriter(tmp_path, 0)
    writer.write(1, 'train', {'mlm_loss': 2.5, 'mfu': None, 'grad_norm': math.nan})
    writer.write(2, 'eval', {'mlm_loss': 1.5})
    writer.close()
    assert scalars(tmp_path / 'train') == [('loss/mlm', 1, 2.5)]
    assert scalars(tmp_path / 'eval') == [('loss/mlm', 2, 1.5)]
    assert scalars(tmp_path) == []


@pytest.mark.parametrize(
    ('name', 'chart'),
    [
        ('loss', 'loss/total'),
        ('nsp_loss', 'loss/nsp'),
        ('mlm_perplexity', 'loss/mlm_perplexity'),
        ('mlm_accuracy', 'accuracy/mlm'),
        ('learning_rate', 'optim/learning_rate'),
        ('tokens_per_second', 'speed/tokens_per_second'),
        ('padding_fraction', 'input/padding_fraction'),
        ('accuracy', 'score/accuracy'),
        ('f1/LOC', 'score/f1/LOC'),
    ],
)
def test_groups(name: str, chart: str) -> None:
    assert tag(name) == chart


def test_copies_have_no_chart() -> None:
    scores = {'loss': 0.5, 'task_loss': 0.5, 'f1': 0.25, 'accuracy': 0.75, 'score': 0.25}
    assert dict(charted(scores)) == {'loss': 0.5, 'f1': 0.25, 'accuracy': 0.75}
    assert dict(charted(scores | {'score': 0.5001}))['score'] == 0.5001, 'a mean of two scores'


def test_the_configuration_and_texts(tmp_path: pathlib.Path) -> None:
    writer, config = MetricsWriter(tmp_path, 3), Config()
    writer.configuration(config)
    writer.text(5, 'examples', 'for i in **range**(10):')
    writer.close()
    found = {v.tag: (e.step, v) for e in events(tmp_path) for v in e.summary.value}
    step, text = found['configuration/text_summary']
    assert step == 3
    lines = text.tensor.string_val[0].decode().split('\n')
    shown = json.loads('\n'.join(line.removeprefix('    ') for line in lines))
    assert shown == json.loads(json.dumps(config.to_dict()))  # JSON has no tuples
    step, text = found['examples/text_summary']
    assert (step, text.tensor.string_val) == (5, [b'for i in **range**(10):'])
    _, hparams = found['_hparams_/session_start_info']
    assert b'optim.learning_rate' in hparams.metadata.plugin_data.content


def test_a_workdir_of_an_older_version(tmp_path: pathlib.Path) -> None:
    """It has one file of events in the workdir itself. Its events stay up to the step of the
    resume."""
    old = tmp_path / 'events.out.tfevents.1000000000.host'
    old.write_bytes(b'')
    (tmp_path / 'metrics.jsonl').write_text('{"step": 4, "split": "train", "loss": 1.0}\n')
    writer = MetricsWriter(tmp_path, 4)
    writer.write(5, 'train', {'loss': 0.5})
    writer.close()
    assert old.exists()
    assert starts(tmp_path) == starts(tmp_path / 'train') == starts(tmp_path / 'eval') == [5]
    assert scalars(tmp_path / 'train') == [('loss/total', 5, 0.5)]


def test_a_resume_hides_what_will_be_written_again(tmp_path: pathlib.Path) -> None:
    MetricsWriter(tmp_path, 6, drop_eval=True).close()
    assert starts(tmp_path / 'train') == [7]
    assert starts(tmp_path / 'eval') == [6], 'the evaluation at step 6 is written again'
