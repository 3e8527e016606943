"""Steps whose loss or update is not finite: they stop the run, or they are counted."""

import logging

import jax

from bert_jax.tasks.losses import Sums

LOG = logging.getLogger('bert_jax.training.nonfinite')
MAX_IN_A_ROW = 20  # skipped steps after which the run stops, because it no longer learns


class NonfiniteSteps:
    """Finds the steps that the train step skipped because they were not finite.

    The flags stay on the device until `check`, so that no step waits for the host.
    """

    def __init__(self, policy: str):
        self._policy = policy  # config.train.nonfinite: 'stop' or 'skip'
        self._unchecked: list[tuple[int, jax.Array]] = []
        self._in_a_row = 0

    def add(self, step: int, sums: Sums) -> None:
        """Records a step; the device may still be computing its sums."""
        self._unchecked.append((step, sums['nonfinite'][0]))

    def check(self) -> None:
        """Logs how many steps were skipped since the last check, if any were.

        Raises FloatingPointError, naming the step, if a step was not finite and the policy is
        'stop', or if MAX_IN_A_ROW steps were not.
        """
        flags = jax.device_get([flag for _, flag in self._unchecked])
        skipped = []
        for (step, _), flag in zip(self._unchecked, flags, strict=True):
            self._in_a_row = self._in_a_row + 1 if flag else 0
            if flag:
                skipped.append(step)
            if flag and self._policy == 'stop':
                raise FloatingPointError(
                    f'the loss or the update is not finite at step {step}; nothing of it was '
                    'saved. Set config.train.nonfinite=skip to skip such steps, or start again in '
                    'another --workdir with a lower config.optim.learning_rate'
                )
            if self._in_a_row == MAX_IN_A_ROW:
                raise FloatingPointError(
                    f'{MAX_IN_A_ROW} steps in a row were not finite and were skipped, the last is '
                    f'step {step}. Start again in another --workdir with a lower '
                    'config.optim.learning_rate, or look at the data'
                )
        if skipped and jax.process_index() == 0:
            LOG.warning(
                '%d of the last %d steps were skipped because their loss or update was not finite, '
                'the last is step %d',
                len(skipped),
                len(flags),
                skipped[-1],
            )
        self._unchecked = []
