import dataclasses
import pathlib
import re
import subprocess
import sys

import made_stores
import numpy as np
import pytest

from bert_jax import batch as batches
from bert_jax.config import Phase, TrainConfig
from bert_jax.data.pretraining import chunks, input_pipeline
from bert_jax.data.store import format
from bert_jax.tasks.pretraining import PretrainTask

ROWS = 32


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return made_stores.write(
        tmp_path_factory.mktemp('pretrain') / 'store',
        made_stores.documents(60),
        made_stores.documents(25, seed=1),
    )


def take(directory, config, start, stop, **hosts):
    return list(input_pipeline.train_batches(directory, config, start=start, stop=stop, **hosts))


def num_chunks(directory, split, length=64):
    return len(chunks.make_chunks(format.open_store(directory, split), length - 3))


def test_batches_fit_the_batch_spec_of_the_task(made):
    config = made_stores.config()
    vocab_size = format.read_meta(made).vocab_size
    model = dataclasses.replace(config.model, vocab_size=vocab_size)
    spec = PretrainTask(model).batch_spec(config.train.phases[0])
    batches.check(take(made, config, 0, 1)[0], spec, 1)
    batches.check(
        next(iter(input_pipeline.EvalBatches(made, config, config.train.phases[0]))), spec, 1
    )
    batches.check(take(made, config, 0, 1, host=1, num_hosts=4)[0], spec, 4)


@pytest.mark.parametrize(
    'options',
    [{}, {'whole_word_masking': True}, pytest.param({'static_copies': 2}, marks=pytest.mark.slow)],
)
def test_batch_k_is_the_same_after_a_jump(corpus, options):
    config = made_stores.config(**options)
    turn = num_chunks(corpus, 'train') // ROWS  # the batch in which the second epoch begins
    straight = take(corpus, config, 0, turn + 3)
    for k in (1, turn - 1, turn, turn + 2):
        assert made_stores.equal(take(corpus, config, k, k + 1)[0], straight[k])
    assert not made_stores.equal(straight[turn - 1], straight[turn])
    assert len(take(corpus, config, 60, 60)) == 0


@pytest.mark.parametrize(('copies', 'hosts'), [(0, 4), (3, 2)])
def test_hosts_share_a_global_batch(corpus, copies, hosts):
    config = made_stores.config(static_copies=copies)
    turn = num_chunks(corpus, 'train') // ROWS
    steps = turn - 3, turn + 3
    whole = made_stores.joined(take(corpus, config, *steps))
    parts = [take(corpus, config, *steps, host=h, num_hosts=hosts) for h in range(hosts)]
    assert made_stores.equal(
        made_stores.joined(b for step in zip(*parts, strict=True) for b in step), whole
    )
    with pytest.raises(ValueError, match='32 sequences does not divide over 5 hosts'):
        take(corpus, config, 0, 1, num_hosts=5)


def test_rows_do_not_depend_on_the_batch_they_are_in(made):
    small = made_stores.joined(take(made, made_stores.config(rows=8), 0, 40))
    large = made_stores.joined(take(made, made_stores.config(rows=64), 0, 5))
    assert made_stores.equal(small, large)


@pytest.mark.slow
def test_seeds_and_phases_have_streams_of_their_own(made):
    first = take(made, made_stores.config(seed=0), 0, 1)[0]
    assert not made_stores.equal(first, take(made, made_stores.config(seed=1), 0, 1)[0])
    phases = (Phase(5, 64, ROWS, 10), Phase(4, 32, 16, 5), Phase(3, 64, ROWS, 10))
    config = made_stores.config()
    config = config.__class__(train=TrainConfig(phases=phases), data=config.data)
    straight = take(made, config, 0, 12)
    assert [b['input_ids'].shape for b in straight] == [(32, 64)] * 5 + [(16, 32)] * 4 + [
        (32, 64)
    ] * 3
    assert made_stores.equal(straight[0], first)
    assert not made_stores.equal(straight[9], first)
    for k in (4, 5, 8, 9, 11):  # around each change of the phase, and the last batch
        assert made_stores.equal(take(made, config, k, k + 1)[0], straight[k])
    assert len(take(made, config, 3, 99)) == 9  # no more than the phases have


def rows_of(batch):
    return {
        tuple(np.concatenate([batch[name][i].ravel() for name in sorted(batch)]).tolist())
        for i in range(len(batch['input_ids']))
    }


def test_new_pairs_and_masks_every_epoch_unless_static(made):
    size = num_chunks(made, 'train')
    steps = -(-6 * size // ROWS)
    fresh = made_stores.joined(take(made, made_stores.config(), 0, steps))
    fixed = made_stores.joined(take(made, made_stores.config(static_copies=2), 0, steps))

    def epoch(batch, e, count=1):
        return {name: array[e * size : (e + count) * size] for name, array in batch.items()}

    assert made_stores.equal(epoch(fixed, 0, 2), epoch(fixed, 2, 2)) and made_stores.equal(
        epoch(fixed, 0, 2), epoch(fixed, 4, 2)
    )
    assert size % ROWS, 'the wrap should be in the middle of a batch'
    assert len(rows_of(epoch(fixed, 0)) & rows_of(epoch(fixed, 1))) < 0.05 * size
    for e in range(5):
        assert len(rows_of(epoch(fresh, e)) & rows_of(epoch(fresh, e + 1))) < 0.05 * size


def test_too_few_static_copies_is_an_error_before_the_first_batch(made):
    size = num_chunks(made, 'train')
    config = made_stores.config(rows=2 * size + 1, static_copies=2)
    with pytest.raises(ValueError, match=r'config\.data\.static_copies=2 .*more copies'):
        input_pipeline.train_batches(made, config, start=0, stop=1)
    assert len(take(made, made_stores.config(rows=2 * size + 1), 0, 3)) == 3  # no copies


def test_evaluation_sees_every_chunk_once(corpus):
    size = num_chunks(corpus, 'eval')
    rows = next(n for n in range(12, size) if size % n)
    config = made_stores.config(eval_rows=rows)
    evaluation = input_pipeline.EvalBatches(corpus, config, config.train.phases[0])
    assert len(evaluation) == -(-size // rows)
    batch = made_stores.joined(evaluation)
    assert made_stores.equal(batch, made_stores.joined(evaluation))  # again and again
    assert batch['example_weights'].tolist() == [1] * size + [0] * (len(evaluation) * rows - size)
    assert not batch['masked_lm_weights'][size:].any()
    assert (batch['masked_lm_weights'][:size].sum(1) >= 1).all()

    text = format.open_store(corpus, 'eval')
    batch = {name: array[:size] for name, array in batch.items()}
    chunk, certain = made_stores.chunks_of(text, chunks.make_chunks(text, 61), batch)
    assert sorted(chunk) == list(range(size))
    assert np.array_equal(chunk[certain], np.flatnonzero(certain)) and certain.mean() > 0.9
    assert abs(batch['next_sentence_labels'].sum() - size / 2) <= 0.5


def test_evaluation_is_the_same_for_any_number_of_hosts_rows_and_seed(corpus):
    config = made_stores.config(eval_rows=12)
    phase = config.train.phases[0]
    whole = made_stores.joined(input_pipeline.EvalBatches(corpus, config, phase))
    parts = [
        input_pipeline.EvalBatches(corpus, config, phase, host=h, num_hosts=4) for h in range(4)
    ]
    assert made_stores.equal(
        made_stores.joined(b for step in zip(*parts, strict=True) for b in step), whole
    )
    more = made_stores.joined(
        input_pipeline.EvalBatches(corpus, made_stores.config(eval_rows=7), phase)
    )
    size = num_chunks(corpus, 'eval')
    assert made_stores.equal(
        {k: v[:size] for k, v in more.items()}, {k: v[:size] for k, v in whole.items()}
    )
    seeded = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, seed=1),
        train=dataclasses.replace(config.train, seed=1),
    )
    assert not made_stores.equal(take(corpus, seeded, 0, 1)[0], take(corpus, config, 0, 1)[0])
    assert made_stores.equal(
        made_stores.joined(input_pipeline.EvalBatches(corpus, seeded, phase)), whole
    )


def test_evaluation_can_be_shorter(made):
    config = made_stores.config(eval_rows=12)
    config = config.__class__(
        train=config.train, data=config.data, eval=config.eval.__class__(12, max_batches=2)
    )
    evaluation = input_pipeline.EvalBatches(made, config, config.train.phases[0])
    assert len(evaluation) == len(list(evaluation)) == 2


def test_no_held_out_text_is_an_error(tmp_path):
    directory = made_stores.write(tmp_path / 'store', made_stores.documents(5), [[1]])
    config = made_stores.config()
    with pytest.raises(ValueError, match=r'2 documents.*eval has 0.*config\.data\.holdout'):
        input_pipeline.EvalBatches(directory, config, config.train.phases[0])


@pytest.mark.slow
def test_large_vocabularies(tmp_path):
    lengths = made_stores.documents(30)
    small = made_stores.write(tmp_path / 'small', lengths)
    large = made_stores.write(tmp_path / 'large', lengths, spare=70_000)
    dtypes = [format.open_store(d, 'train').tokens.dtype for d in (small, large)]
    assert dtypes == ['uint16', 'uint32']
    one, other = (made_stores.joined(take(d, made_stores.config(), 0, 4)) for d in (small, large))
    assert np.array_equal(made_stores.restored(one), made_stores.restored(other))
    assert other['input_ids'].max() > 1 << 16  # as a replacement


BREAKS_OFF = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import made_stores
from bert_jax.data.pretraining import input_pipeline
kept = []
for i in range(5):
    config = made_stores.config()
    store = pathlib.Path({directory!r})
    batches = input_pipeline.train_batches(store, config, start=i, stop=10_000)
    for _ in range(3):
        next(batches)
    kept.append(batches)
print('done')
"""


@pytest.mark.slow
def test_a_process_that_breaks_off_ends(made):
    script = BREAKS_OFF.format(tests=str(pathlib.Path(__file__).parents[1]), directory=str(made))
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, 'done\n'), done.stderr


def test_the_log_says_how_much_text_is_shown(tmp_path, caplog):
    documents = [[7, 9, 8, 6] * 12 for _ in range(8)]
    directory = made_stores.write(tmp_path / 'store', documents, documents[:2])
    caplog.set_level('INFO')
    for copies, text in (
        (0, r'an epoch has 192 rows of 16 tokens, which show \d+% of the text'),
        (1, r'1 static copy of 192 rows [^;]*; the rest is never shown'),
    ):
        caplog.clear()
        input_pipeline.train_batches(
            directory, made_stores.config(16, 4, 3, static_copies=copies), start=0, stop=1
        )
        assert re.search(text, ' '.join(caplog.text.split())), caplog.text
    caplog.clear()  # an evaluation has no next epoch
    config = made_stores.config(16, 4, 3)
    input_pipeline.EvalBatches(directory, config, config.train.phases[0])
    assert 'of the text' in caplog.text and 'epoch' not in caplog.text
    caplog.clear()
    config = made_stores.config(16, 4, 3)
    input_pipeline.EvalBatches(directory, config, config.train.phases[0])
    assert 'evaluation   ' in caplog.text and 'epochs' not in caplog.text
