"""A run of fine-tuning beside PyTorch's: the same start, rows, schedule and optimizer."""

import dataclasses
import pathlib

import finetune
import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath
from reference import transformers

from bert_jax.convert.folders import convert_out
from bert_jax.finetuning import settings
from bert_jax.finetuning.datasets import load_task_data
from bert_jax.preflight.resolve import resolve


@pytest.mark.slow
def test_the_losses_of_three_epochs(tmp_path: pathlib.Path, one_device: None) -> None:
    """There is no dropout. The last batch of an epoch is not full, and rows have two lengths."""
    model = dataclasses.replace(small_tasks.MODEL, initializer_range=0.2)
    heads, labels = ('pooler', 'classifier'), ('neg', 'pos')
    source = small_tasks.fine_tuned_folder(tmp_path / 'source', heads, labels, model)
    files = {
        'train_file': str(small_tasks.write_texts(tmp_path / 'train.jsonl', 200, 0, most=28)),
        'eval_file': str(small_tasks.write_texts(tmp_path / 'dev.jsonl', 20, 1)),
    }
    config = small_tasks.configured(
        source, 'text', data=files | {'max_seq_length': 32}, train={'epochs': 3.0, 'log_every': 1}
    )
    resolve(config, epath.Path(tmp_path / 'w')).run()
    lines = [line for line in small_run.metrics(tmp_path / 'w') if line['split'] == 'train']
    assert len(lines) == 39  # 3 x ceil(200 / 16)

    config, vocabulary = settings.start_from(config)
    job = load_task_data('text', config, vocabulary)
    assert len(job.train) % 16 and job.train.lengths.max() > 16
    convert_out('hf', source, tmp_path / 'theirs')
    bert = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / 'theirs')
    ours = [line['loss'] for line in lines]
    theirs = [*finetune.losses(bert, job, settings.with_steps(config, job), config.data.seed)]
    print('largest difference of the losses', np.abs(np.subtract(ours, theirs)).max())
    assert np.mean(theirs[-5:]) < np.mean(theirs[:5]) / 2
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
