"""How far preparing is: a live line in a terminal, a plain line now and then without one."""

import time
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress

from bert_jax.data.summary import Document, Summary

T = TypeVar('T')
EVERY = 10  # seconds between plain lines


def console() -> rich.console.Console:
    return rich.console.Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    console().print(text, markup=False)


def tracked(
    documents: Iterator[Document], what: str, summary: Summary, size: int
) -> Generator[Document, None, None]:
    """The documents. `size`: the source's, 0 where unknown; summary.passed is how much of it
    has been read."""
    out = console()
    columns = (
        rich.progress.TextColumn('{task.description}'),
        rich.progress.BarColumn(),
        rich.progress.TextColumn('{task.fields[text]}'),
        rich.progress.TimeRemainingColumn(),
    )
    started = last = time.monotonic()
    pause = 0.1 if out.is_terminal else EVERY
    characters = 0
    with rich.progress.Progress(*columns, console=out, disable=not out.is_terminal) as shown:
        task = shown.add_task(what, total=size or None, text='')
        for document in documents:
            yield document
            characters += sum(map(len, document))
            now = time.monotonic()
            if now - last < pause:
                continue
            last = now
            rate = characters / 1e6 / (now - started)
            text = f'{characters / 1e6:.1f} MB of text, {rate:.1f} MB/s'
            shown.update(task, completed=summary.passed, text=text)
            if not out.is_terminal:
                share = f', {summary.passed / size:.0%}' if size else ''
                out.print(f'{what}: {text}{share}', markup=False)


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items; says how many there were, and how many a second."""
    out = console()
    columns = (
        rich.progress.TextColumn('{task.description}'),
        rich.progress.BarColumn(),
        rich.progress.TextColumn('{task.completed:,.0f}'),
        rich.progress.TimeRemainingColumn(),
    )
    started = last = time.monotonic()
    with rich.progress.Progress(*columns, console=out, disable=not out.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        for number, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - last >= (0.1 if out.is_terminal else EVERY):
                last = now
                shown.update(task, completed=number)
                if not out.is_terminal:
                    of = f' of {total:,}' if total else ''
                    rate = number / (now - started)
                    out.print(f'{what}: {number:,}{of}, {rate:,.0f} a second', markup=False)
