"""Starts a run: the fast checks, the lock of the workdir, and then the training."""

from collections.abc import Collection

from etils import epath

from bert_jax.config import Config
from bert_jax.preflight import checks
from bert_jax.preflight.resolve import resolve, with_converted_start
from bert_jax.training import running
from bert_jax.training.workdir import explain_disk, set_aside


def run(
    config: Config, workdir: epath.Path, start_over: bool = False, typed: Collection[str] = ()
) -> None:
    """Pretrains or fine-tunes. start_over: renames the workdir first. typed: see `refuse_replaced`.
    Raises ValueError for a mistake in the configuration or the data, and if another process runs in
    the workdir."""
    # At once, before the checks, which take seconds.
    running.by_process_0(lambda: running.refuse_second(workdir))
    converted = with_converted_start(config, None if start_over else workdir)
    resolver = resolve(converted, workdir, given=config)
    resolver.typed = typed
    if start_over:
        set_aside(workdir)
    checks.check_early(resolver)
    with running.alone_in(workdir), explain_disk(workdir):
        resolver.run()
