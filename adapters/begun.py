"""Coroutines that are begun by hand, so that what need not wait makes no task and no timer."""

from __future__ import annotations

from collections.abc import Generator
from types import coroutine
from typing import Any


@coroutine
def rest_of(begun: Any, awaited: Any) -> Generator[Any, Any, Any]:
    """What is left of a coroutine that waits for something; its result, or what it raises."""
    while True:
        try:
            try:
                sent = yield awaited
            except BaseException as error:  # whatever it is, cancelling too, it is the coroutine's
                awaited = begun.throw(error)
            else:
                awaited = begun.send(sent)
        except StopIteration as end:
            return end.value
