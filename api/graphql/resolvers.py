"""Strawberry's field decorators with their types kept: the function stays what its author wrote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import strawberry
from strawberry.extensions import FieldExtension

from commands.handling import Permission

F = TypeVar("F", bound=Callable[..., Any])
WHO: Final = "who"  # where a field's metadata has its permission


class _Asked(FieldExtension):
    """Asks who it is before the field is resolved."""

    def __init__(self, who: Permission) -> None:
        self._who = who

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info[Any, Any], **given: Any
    ) -> Any:
        """Raises what the permission raises."""
        self._who(info.context.actor)
        return await next_(source, info, **given)


def resolver(description: str, *, who: Permission | None = None) -> Callable[[F], F]:
    """A field that a function answers; its docstring is for maintainers, the description for clients.

    `who` may ask is declared for every root query, and for nothing else: a mutation's is its command's, and what
    belongs to something is seen by whoever sees that."""
    if who is None:
        return cast("Callable[[F], F]", strawberry.field(description=description))
    asked = strawberry.field(description=description, extensions=[_Asked(who)], metadata={WHO: who})
    return cast("Callable[[F], F]", asked)
