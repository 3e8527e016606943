"""The training loop: restore, then train, report, evaluate and save until the steps are done."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config
from bert_jax.config.errors import Interrupted
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.signals import Stopper
from bert_jax.tasks.task import Task
from bert_jax.training import early_stopping, random_streams, running, teacher
from bert_jax.training.checkpoint import Checkpoints, save_best
from bert_jax.training.evaluation import Predictions, evaluate
from bert_jax.training.initialization import NewTokens, with_new_tokens
from bert_jax.training.metrics import MetricsWriter, ended_early
from bert_jax.training.progress import Metrics, Progress
from bert_jax.training.stages import EvalSets, Stage, TrainBatches, prefetch, remaining_stages
from bert_jax.training.step_monitor import StepMonitor
from bert_jax.training.train_step import Step, TrainState, shared_step
from bert_jax.training.warm_start import initial_params
from bert_jax.training.workdir import explain_disk, same_labels

LOG = logging.getLogger('bert_jax.training.loop')


# (step, steps taken, params, means) -> a line to print and a text for TensorBoard, '' for nothing.
# All processes call it after an evaluation.
AfterEvaluation = Callable[[Step, int, Any, Metrics], tuple[str, str]]


def is_due(step: int, every: int, config: Config) -> bool:
    """Returns whether `step` is a multiple of `every` (0: never) or the last step."""
    return step == config.num_steps or (every > 0 and step % every == 0)


def train(
    config: Config,
    task: Task,
    batches: TrainBatches,
    eval_sets: EvalSets,
    workdir: epath.PathLike,
    stopper: Stopper | None = None,
    after_evaluation: AfterEvaluation = lambda *_: ('', ''),
    new_tokens: NewTokens | None = None,
) -> TrainState:
    """Trains to `config.num_steps`, starting from the workdir's newest checkpoint if it has one.

    batches(start, stop): this host's slices of batches start .. stop - 1. eval_sets(phase): the
    held-out examples in the shapes of `phase`. stopper: for a command with several runs, which
    share it. after_evaluation: see AfterEvaluation. new_tokens: rows of the vocabulary that
    config.init_from does not have. If training is already complete, nothing is written.

    Raises FloatingPointError, naming the step, if a loss or an update is not finite (see
    `StepMonitor`), and Interrupted after a signal, when the state is saved.
    """
    checkpoints = Checkpoints(workdir, config.train.keep)
    built = shared_step(config, task, make_mesh(config.mesh))
    state = _restore_or_init(config, built, checkpoints, workdir, new_tokens or {})
    step = int(state.step)
    if step >= config.num_steps or ended_early(config, eval_sets, workdir, step):
        LOG.info('Training is already complete (step %d of %d).', step, config.num_steps)
        checkpoints.close()
        return state
    key = _root_key(config, built.mesh, 'threefry2x32')
    state, frozen = teacher.begin(config, built, state, key)
    # All stages are set up now, so that a mistake in a later one is found at once.
    stages = remaining_stages(built, step, batches, eval_sets)
    key = _root_key(config, built.mesh, config.train.prng_impl)
    # If a run with a smaller num_steps ended here, its last evaluation is not one of this run's.
    # With train.best its line stays, because it has the score of the saved best parameters.
    drop_eval = not is_due(step, config.train.eval_every, config) and not config.train.best
    # The stack is closed in reverse order, so that signals are handled until everything is written.
    with contextlib.ExitStack() as stack:
        stack.enter_context(explain_disk(workdir))
        stopper = stopper or stack.enter_context(Stopper())
        stack.callback(checkpoints.close)
        writer = MetricsWriter(workdir, step, drop_eval)
        stack.callback(writer.close)
        writer.configuration(config)
        progress = Progress(step, config.num_steps)
        stack.callback(progress.close)
        stack.enter_context(jax.transfer_guard('disallow'))
        loop = _Loop(
            config, built, workdir, checkpoints, writer, progress, stopper, after_evaluation, frozen
        )
        loop.catch_up(step, state, stages[0])
        if loop.ends_early(step, stages[0]):
            return state
        return loop.run(step, state, stages, key)


@dataclasses.dataclass(frozen=True)
class _Loop:
    """The training loop and its outputs. The methods receive the state and the stages."""

    config: Config
    built: Step
    workdir: epath.PathLike
    checkpoints: Checkpoints
    writer: MetricsWriter
    progress: Progress
    stopper: Stopper
    after_evaluation: AfterEvaluation
    frozen: Any  # see `Step`

    def catch_up(self, step: int, state: TrainState, stage: Stage) -> None:
        """Evaluates if a signal stopped the earlier process before it had evaluated `step`, or
        before the first step if pretraining goes on from a checkpoint.

        Raises Interrupted if a signal has arrived or arrives now.
        """
        if self.stopper.agreed():
            raise self.stopper.interrupted(
                f'stopped before step {step + 1} of {self.config.num_steps}; '
                'the same command continues from there'
            )
        due = step and is_due(step, self.config.train.eval_every, self.config)
        # The loss before the first step shows later how much the training has improved the
        # checkpoint.
        adapts = not step and self.config.kind == 'pretraining' and bool(self.config.init_from)
        if not (due or adapts) or self.writer.has_eval(step):
            return
        if not self.evaluate(step, state.params, stage):
            state_of = f'step {step} is saved' if step else 'nothing is trained yet'
            raise self.stopper.interrupted(f'{state_of}; the same command evaluates it')

    def run(self, step: int, state: TrainState, stages: list[Stage], key: jax.Array) -> TrainState:
        """Runs the steps of all stages, from `step` + 1 on. key: the root key."""
        config, intervals = self.config, self.config.train
        monitor = StepMonitor(self.built.task, config.train.nonfinite)
        for stage in stages:
            timed = monitor.time_input(stage.batches)
            for batch in prefetch(timed, stage.specs, self.built.mesh):
                # Train.
                self.progress.state('training', _shape(batch))
                state, sums = self.built.train(state, batch, key, self.frozen)
                step += 1
                length = batch['input_ids'].shape[1]
                monitor.add(step, sums, stage.phase._replace(max_seq_length=length))
                self.progress.step(step, monitor.finished)
                last, stop = step == config.num_steps, self.stopper.agreed()
                log = is_due(step, config.log_every, config)
                save = stop or is_due(step, intervals.checkpoint_every, config)
                evaluate = is_due(step, intervals.eval_every, config) and (last or not stop)

                # Report.
                if log or evaluate or save:
                    monitor.check_finite()
                    self.checkpoints.check_saves()
                    running.check(self.workdir)
                if log:
                    self.report(step, 'train', monitor.read())

                # Evaluate.
                if evaluate and not monitor.exclude(self.evaluate, step, state.params, stage):
                    save = stop = True
                ended = evaluate and not (stop or last) and self.ends_early(step, stage)

                # Save. A run that resumes here does not report the metrics of this step again.
                if save or ended:
                    self.progress.state('saving')
                    monitor.exclude(self.writer.flush)
                    monitor.exclude(self.checkpoints.save, step, state)
                if ended:
                    return state
                if stop and not last:
                    raise self.stopper.interrupted(
                        f'saved at step {step} of {config.num_steps}; '
                        'the same command continues from there'
                    )
        return state

    def evaluate(self, step: int, params: Any, stage: Stage) -> bool:
        """Evaluates and reports. Returns False if a signal interrupts it."""
        self.progress.state('evaluating')
        rows = self._with_state(stage.eval_set)
        if step != self.config.num_steps:  # nothing would resume a complete run
            rows = self.stopper.until_stopped(rows)
        try:
            means, predictions = evaluate(self.built, params, rows, stage.eval_specs, self.frozen)
        except Interrupted:
            return False
        means |= stage.eval_set.score(predictions)
        if self.config.train.best and self.writer.is_best(stage.eval_set.main_score, means):
            save_best(self.workdir, step, params)
        self.report(step, 'eval', means)
        line, text = self.after_evaluation(self.built, step, params, means)
        if line:
            self.progress.note(line)
        if text:
            self.writer.text(step, 'examples', text)
        return True

    def _with_state(self, rows: Iterable[HostBatch]) -> Iterator[HostBatch]:
        """Yields the batches of an evaluation, and shows when a new shape is compiled."""
        for batch in rows:
            self.progress.state('evaluating', _shape(batch))
            yield batch  # the caller compiles before it asks for the next batch
            self.progress.state('evaluating')

    def ends_early(self, step: int, stage: Stage) -> bool:
        """Returns whether the evaluation at `step` ends the run (`early_stopping.is_due`)."""
        patience, name = self.config.train.patience, stage.eval_set.main_score
        ends = bool(patience) and self.writer.ends_early(name, patience, step)
        if ends:
            self.progress.note(early_stopping.message(name, patience, step, self.config.num_steps))
        return ends

    def report(self, step: int, split: str, metrics: Metrics) -> None:
        self.writer.write(step, split, metrics)
        self.progress.report(step, split, metrics)


def _shape(batch: Mapping[str, Any]) -> str:
    """The shape of a batch, for the live line: '32 x 128 tokens'."""
    rows, length = batch['input_ids'].shape
    return f'{rows} x {length} tokens'


def predict(config: Config, task: Task, params: Any, batches: Iterable[HostBatch]) -> Predictions:
    """The task's predictions for each row of `batches`, in order of example_ids."""
    built = shared_step(config, task, make_mesh(config.mesh))
    specs = built.batch_specs(config.train.phases[0], training=False)
    return evaluate(built, params, batches, specs)[1]


def _root_key(config: Config, mesh: jax.sharding.Mesh, impl: str) -> jax.Array:
    """The root key on every device, because the loop allows no implicit transfers."""
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    make = functools.partial(random_streams.root, config.train.seed, impl)
    return jax.jit(make, out_shardings=replicated)()


def _restore_or_init(
    config: Config,
    built: Step,
    checkpoints: Checkpoints,
    workdir: epath.PathLike,
    new_tokens: NewTokens,
) -> TrainState:
    """The newest checkpoint of the workdir, or a fresh state with the parameters of init_from."""
    state = checkpoints.restore(built.abstract)
    if state is not None:
        if int(state.step) < config.num_steps:
            LOG.info('continuing from step %d of %d', int(state.step), config.num_steps)
        return state
    # Parameters do not use config.train.prng_impl, because the bits of rbg depend on the mesh.
    state = built.init(_root_key(config, built.mesh, 'threefry2x32'))
    if config.init_from:
        task_head = same_labels(workdir, config.init_from)
        params = initial_params(
            config, state.params, built.info, task_head, built.task.optional_heads
        )
        params = with_new_tokens(params, built.info, new_tokens)
        state = dataclasses.replace(state, params=params)
    return state
