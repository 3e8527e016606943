"""Handles rows of files that cannot be used: the first one raises an error, or all are left out."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar('T')
U = TypeVar('U')
OnError = Callable[[ValueError], None]  # receives the error of a row that is left out


def each(
    items: Iterable[T], make: Callable[[T], U], on_error: OnError | None = None
) -> Iterator[U]:
    """Yields make(item) for each item.

    If `make` raises ValueError, the item is left out and `on_error` receives the error. Without
    `on_error`, the error is raised.
    """
    for item in items:
        try:
            made = make(item)
        except ValueError as error:
            if on_error is None:
                raise
            on_error(error)
        else:
            yield made


def not_empty(items: Iterable[T], error: str) -> Iterator[T]:
    """Yields the items. Raises ValueError with the message `error` if there are none."""
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise ValueError(error)
