"""Strawberry's field decorators with their types kept: the function stays what its author wrote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import strawberry
from strawberry.extensions import FieldExtension

from api.throttling import sought
from commands.doors import Door
from commands.handling import Permission

F = TypeVar("F", bound=Callable[..., Any])
WHO: Final = "who"  # where a field's metadata has its permission
DOOR: Final = "door"  # and what it costs and tells


class _Asked(FieldExtension):
    """Asks who it is, and counts what is to be counted, before the field is resolved."""

    def __init__(self, who: Permission, door: Door | None) -> None:
        self._who = who
        self._door = door

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info[Any, Any], **given: Any
    ) -> Any:
        """Raises what the permission raises, and RateLimited."""
        context = info.context
        with context.kontor.ports.security.watched(info.field_name, context.actor):
            self._who(context.actor)
            if self._door is None or not self._door.is_counted:
                return await next_(source, info, **given)
            return await sought(
                context.kontor,
                self._door,
                given,
                actor=context.actor,
                address=context.address,
                look=lambda: next_(source, info, **given),
            )


def resolver(description: str, *, who: Permission | None = None, door: Door | None = None) -> Callable[[F], F]:
    """A field that a function answers; its docstring is for maintainers, the description for clients.

    `who` may ask is declared for every root query, and for nothing else: a mutation's is its command's, and what
    belongs to something is seen by whoever sees that. So is `door`, and for a mutation that is no command: the schema
    is not made without (`api.graphql.doors`)."""
    metadata = {DOOR: door} if door is not None else {}
    if who is None:
        return cast("Callable[[F], F]", strawberry.field(description=description, metadata=metadata))
    asked = strawberry.field(description=description, extensions=[_Asked(who, door)], metadata={WHO: who} | metadata)
    return cast("Callable[[F], F]", asked)
