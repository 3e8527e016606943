"""TensorBoard events of a run: scalars, the configuration, and texts.

Training and evaluation write the same names into the sub-folders `train` and `eval`, so TensorBoard
shows both curves of a metric in one chart. The configuration is in the workdir itself.
"""

import json
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flax import traverse_util

from bert_jax.tasks import measures

# tensorboardX imports PyTorch if it is installed, which takes two seconds and is not needed here.
_hidden = {'torch': None} if 'torch' not in sys.modules else {}
sys.modules.update(_hidden)  # type: ignore[arg-type]
from tensorboardX import summary  # noqa: E402
from tensorboardX.event_file_writer import EventsWriter  # noqa: E402
from tensorboardX.proto.event_pb2 import Event, SessionLog  # noqa: E402

for _name in _hidden:
    del sys.modules[_name]

SPLITS = ('train', 'eval')
OPTIMIZER = ('learning_rate', 'grad_norm', 'skipped_steps')
SPEED = ('tokens_per_second', 'sequences_per_second', 'mfu')
INPUT = ('input_wait_fraction', 'padding_fraction')


class TensorBoard:
    """Event files in `folder` and its sub-folders `train` and `eval`.

    start_step: TensorBoard hides what an earlier process wrote for steps after it. drop_eval:
    whether it also hides the evaluation at start_step.
    """

    def __init__(self, folder: pathlib.Path, start_step: int, drop_eval: bool = False):
        self._step = start_step
        self._writers = dict[str, EventsWriter]()
        start = SessionLog(status=SessionLog.START)
        for name in ('', *SPLITS):
            (folder / name).mkdir(exist_ok=True)
            self._writers[name] = EventsWriter(str(folder / name / 'events'))
            first = start_step + (0 if drop_eval and name == 'eval' else 1)
            self._write(name, first, session_log=start)

    def _write(self, split: str, step: int, **content: Any) -> None:
        self._writers[split].write_event(Event(wall_time=time.time(), step=step, **content))

    def scalars(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Writes the metrics that are numbers. split: 'train' or 'eval'."""
        for name, value in charted(values):
            self._write(split, step, summary=summary.scalar(tag(name), value))

    def text(self, name: str, markdown: str, step: int | None = None) -> None:
        """Writes a text for the tab TEXT. step: None means the step at which the process began."""
        at = self._step if step is None else step
        self._write('', at, summary=summary.text(name, markdown))

    def configuration(self, values: Mapping[str, Mapping[str, Any] | Any]) -> None:
        """Writes the configuration as a text, and its single values for the tab HPARAMS.

        values: nested dicts of plain values, see `Config.to_dict`.
        """
        content = json.dumps(values, indent=2)
        self.text('configuration', '\n'.join(f'    {line}' for line in content.split('\n')))
        flat = traverse_util.flatten_dict(values, sep='.')
        single = {key: v for key, v in flat.items() if isinstance(v, bool | int | float | str)}
        # TensorBoard finds the metrics without the other parts of `hparams`.
        _, start, _ = summary.hparams(single, {})
        self._write('', self._step, summary=start)

    def flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def tag(name: str) -> str:
    """The name of a chart, with its group: mlm_loss -> loss/mlm, learning_rate ->
    optim/learning_rate. Metrics of no group are the scores of fine-tuning: f1 -> score/f1."""
    for group, names in (('optim', OPTIMIZER), ('speed', SPEED), ('input', INPUT)):
        if name in names:
            return f'{group}/{name}'
    if name == 'loss':
        return 'loss/total'
    measure, kind = measures.parts(name)
    if measure:
        return f'{kind}/{measure}'
    return f'loss/{name}' if name.endswith('_perplexity') else f'score/{name}'


def charted(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The metrics that are numbers, without the copies among those of fine-tuning: `task_loss` is
    the same as `loss`, and `score` is often one of the other scores."""
    for name, value in values.items():
        others = [other for key, other in values.items() if key != name]
        is_copy = name == 'task_loss' or (name == 'score' and value in others)
        if isinstance(value, int | float) and not is_copy:
            yield name, value
