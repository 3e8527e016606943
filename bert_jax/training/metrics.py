"""The writer of metrics: metrics.jsonl and TensorBoard events."""

import json
import math
import pathlib
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from etils import epath

from bert_jax.config import Config, Phase
from bert_jax.config.files import is_remote, write_atomically
from bert_jax.parallel.mesh import of_process_0
from bert_jax.training import early_stopping
from bert_jax.training.early_stopping import rank
from bert_jax.training.history import whole_lines
from bert_jax.training.progress import Metrics
from bert_jax.training.tensorboard import SPLITS, TensorBoard
from bert_jax.training.workdir import METRICS


class MetricsWriter:
    """`WORKDIR/metrics.jsonl`, a JSON object per line, and TensorBoard events, see `TensorBoard`.

    Only process 0 writes. Object stores cannot append, so for a remote workdir the files grow in a
    local folder and are uploaded as a whole.

    start_step: lines of later steps are removed, because the resumed run writes them again.
    drop_eval: whether to remove the evaluation at start_step, too.
    """

    def __init__(self, workdir: epath.PathLike, start_step: int, drop_eval: bool = False):
        self._active = jax.process_index() == 0
        self._evals: list[dict[str, Any]] = []  # the lines of the evaluations so far
        if not self._active:
            return
        self._workdir = epath.Path(workdir)
        for split in SPLITS:
            (self._workdir / split).mkdir(parents=True, exist_ok=True)
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._folder = pathlib.Path(str(workdir))
        if is_remote(workdir):
            self._temporary = tempfile.TemporaryDirectory()
            self._folder = pathlib.Path(self._temporary.name)
        last_eval = start_step - 1 if drop_eval else start_step
        last = {'train': start_step, 'eval': last_eval}
        kept = [x for x in whole_lines(self._workdir) if x['step'] <= last[x['split']]]
        self._evals = [line for line in kept if line['split'] == 'eval']
        text = ''.join(f'{json.dumps(line)}\n' for line in kept)
        write_atomically(self._folder / METRICS, text)
        self._file = (self._folder / METRICS).open('a')
        self._thread, self._upload = ThreadPoolExecutor(1), Future[None]()
        self._upload.set_result(None)
        self._events = TensorBoard(self._folder, start_step, drop_eval)
        self.flush()

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """Writes one line; numbers that are not finite become null.

        Once this has returned, the line is not lost if the process is killed. In an object store
        this holds once `flush` or the next `write` has returned.
        """
        if not self._active:
            return
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in metrics.items()
        }
        line = {'step': step, 'split': split, **values}
        if split == 'eval':
            self._evals.append(line)
        self._file.write(json.dumps(line, allow_nan=False) + '\n')
        self._file.flush()
        self._events.scalars(step, split, values)
        if self._temporary:
            self._finish_upload()
            self._upload = self._thread.submit(self._copy, METRICS)

    def configuration(self, config: Config) -> None:
        """Writes the configuration for TensorBoard."""
        if self._active:
            self._events.configuration(config.to_dict())

    def text(self, step: int, name: str, markdown: str) -> None:
        """Writes a text for TensorBoard, such as examples of the model's predictions."""
        if self._active:
            self._events.text(name, markdown, step)

    def has_eval(self, step: int) -> bool:
        """Returns whether the evaluation of `step` was written; the same in all processes."""
        return _of_process_0(any(line.get('step') == step for line in self._evals))

    def is_best(self, name: str, metrics: Metrics) -> bool:
        """Returns whether the score `name` is better than in all earlier evaluations.

        The answer is the same in all processes.
        """
        earlier = max((rank(name, line) for line in self._evals), default=-math.inf)
        return _of_process_0(earlier == -math.inf or rank(name, metrics) > earlier)

    def ends_early(self, name: str, patience: int, step: int) -> bool:
        """See `early_stopping.is_due`. The answer is the same in all processes."""
        return _of_process_0(early_stopping.is_due(self._evals, name, patience, step))

    def flush(self) -> None:
        """Writes everything to the workdir, so that nothing is lost if the process is killed."""
        if self._active:
            self._events.flush()
            if self._temporary:
                self._finish_upload()
                files = (path for path in self._folder.rglob('*') if path.is_file())
                self._copy(*(str(path.relative_to(self._folder)) for path in files))

    def _finish_upload(self) -> None:
        """Waits for the upload in flight, and tries again if it failed."""
        if self._upload.exception():
            self._copy(METRICS)

    def _copy(self, *names: str) -> None:
        for name in names:
            (self._workdir / name).write_bytes((self._folder / name).read_bytes())

    def close(self) -> None:
        if self._active:
            self._file.close()
            self._thread.shutdown()
            self.flush()
            self._events.close()
            if self._temporary:
                self._temporary.cleanup()


def _of_process_0(value: bool) -> bool:
    """The value of process 0, in all processes."""
    return bool(of_process_0(np.int32(value)))


def ended_early(
    config: Config, eval_sets: Callable[[Phase], Any], workdir: epath.PathLike, step: int
) -> bool:
    """Returns whether a run, whose newest checkpoint is that of `step`, ended there because its
    main score did not improve. The answer is the same in all processes."""
    if not (patience := config.train.patience):
        return False
    name = eval_sets(config.train.phases[0]).main_score
    evals = early_stopping.evaluations(workdir, step)
    return _of_process_0(early_stopping.is_due(evals, name, patience, step))
