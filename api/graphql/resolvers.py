"""Strawberry's field decorators with their types kept: the function stays what its author wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def resolver(description: str) -> Callable[[F], F]:
    """A field that a function answers; its docstring is for maintainers, the description for clients."""
    return cast("Callable[[F], F]", strawberry.field(description=description))
