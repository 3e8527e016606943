"""Shows the progress of long work: a live line in a terminal, or a plain line every 10 seconds."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress

from bert_jax.config.console import WIDTH
from bert_jax.data.summary import Document, Summary

T = TypeVar('T')
EVERY = 10  # seconds between plain lines
# The amount of work that is done, the text to show, and a text to add to it before the end.
State = tuple[int, str, str]


def console() -> rich.console.Console:
    """A console on stderr that neither wraps nor colours what it prints."""
    return rich.console.Console(stderr=True, soft_wrap=True, highlight=False)


def shortened(line: str) -> str:
    """The line; if it is longer than WIDTH, '...' replaces its middle."""
    if len(line) <= WIDTH:
        return line
    return f'{line[: WIDTH * 3 // 4 - 5]} ... {line[-WIDTH // 4 :]}'


def tracked(
    documents: Iterable[Document], what: str, summary: Summary, size: int
) -> Generator[Document, None, None]:
    """Yields the documents and shows how much of the source has been read, and how fast.

    size: the size of the source, 0 if it is unknown. `summary.passed` grows by what is read of it;
    it may already count earlier sources.
    """
    started, characters, before = time.monotonic(), 0, summary.passed

    def measured() -> Iterator[Document]:
        nonlocal characters
        for document in documents:
            yield document
            characters += sum(map(len, document))

    def state(_: int) -> State:
        rate = characters / 1e6 / max(time.monotonic() - started, 1e-9)
        passed = summary.passed - before
        share = f', {passed / size:.0%}' if size else ''
        return passed, f'{characters / 1e6:.1f} MB of text, {rate:.1f} MB/s', share

    return _shown(measured(), what, size or None, state)


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yields the items and shows their number, and how many there are per second."""
    started = time.monotonic()

    def state(number: int) -> State:
        of_total = f' of {total:,}' if total else ''
        rate = number / max(time.monotonic() - started, 1e-9)
        return number, f'{number:,}{of_total}, {rate:,.0f} a second', ''

    return _shown(items, what, total, state)


def _shown(
    items: Iterable[T], what: str, total: int | None, state: Callable[[int], State]
) -> Generator[T, None, None]:
    """Yields the items and shows their state.

    state: a function of the number of items. The bar ends at 100 %, because `total` may be an
    estimate, and the caller may close the generator when it has enough.
    """
    out = console()
    columns = (
        rich.progress.TextColumn('{task.description}'),
        rich.progress.BarColumn(),
        rich.progress.TextColumn('{task.fields[text]}'),
        rich.progress.TimeRemainingColumn(),
    )
    last, pause = time.monotonic(), 0.1 if out.is_terminal else EVERY
    with rich.progress.Progress(*columns, console=out, disable=not out.is_terminal) as bar:
        task, number = bar.add_task(what, total=total, text=''), 0
        try:
            for number, item in enumerate(items, 1):
                yield item
                if time.monotonic() - last < pause:
                    continue
                last = time.monotonic()
                done, text, share = state(number)
                bar.update(task, completed=done, text=text + share)
                if not out.is_terminal:
                    out.print(f'{what}: {text}{share}', markup=False)
        except GeneratorExit:
            pass
        done, text, _ = state(number)
        bar.update(task, total=max(done, 1), completed=max(done, 1), text=text)
