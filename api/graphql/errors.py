"""Top-level errors as clients see them: a code each, and nothing of what only we should know.

What a person can correct in a mutation is not here but in `userErrors`, see `receipts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import structlog
from graphql import FieldNode, GraphQLError
from psycopg import OperationalError
from psycopg_pool import PoolTimeout, TooManyRequests
from strawberry.schema.exceptions import CannotGetOperationTypeError

from adapters.event_codec import WrittenByNewerCode
from adapters.group_commit import StoreUnavailable
from adapters.void_tokens import TokensUnchecked
from commands.ports import Overloaded
from domain.errors import DomainError, Forbidden, Unauthenticated

log = structlog.get_logger()


class StaleRead(Exception):
    """A view did not reach what the reader's token names in time, and the reader wants nothing older."""


class Resync(Exception):
    """A subscription ended because its client was too slow; from `cursor` on it can be had again."""

    def __init__(self, cursor: str) -> None:
        super().__init__(
            f"More happened than was taken, and this subscription has ended; subscribe again with since: {cursor!r}."
        )
        self.cursor = cursor


_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Unauthenticated, "UNAUTHENTICATED"),
    (Forbidden, "FORBIDDEN"),
    (StaleRead, "STALE_READ"),
    (Overloaded, "UNAVAILABLE"),
    (StoreUnavailable, "UNAVAILABLE"),
    (TokensUnchecked, "UNAVAILABLE"),
    (WrittenByNewerCode, "UNAVAILABLE"),
)
_SUGGESTION: Final = re.compile(r" Did you mean .*", re.DOTALL)
_BUSY: Final = "The database is busy or away; try again in a moment."


def formatted(errors: Sequence[GraphQLError], *, suggestions: bool) -> list[Any]:
    """The errors of one answer; an unexpected one is logged whole and told only as an id. `suggestions` are what the
    schema has instead: without them nobody learns a schema by asking for what is almost there."""
    told = [{**error.formatted, **_public(error)} for error in errors]
    return told if suggestions else [{**each, "message": _SUGGESTION.sub("", each["message"])} for each in told]


def _public(error: GraphQLError) -> dict[str, Any]:
    cause = cause_of(error)
    # The document or a variable does not fit the schema, or no operation has the name that was asked for: the
    # libraries' own words.
    if cause is None or isinstance(cause, CannotGetOperationTypeError):
        return {"message": error.message, "extensions": {"code": "BAD_REQUEST", **(error.extensions or {})}}
    if isinstance(cause, DomainError):
        return {"message": cause.message, "extensions": {"code": cause.code}}
    if isinstance(cause, OperationalError | PoolTimeout | TooManyRequests):
        log.warning("database_unavailable", error=repr(cause))
        return {"message": _BUSY, "extensions": {"code": "UNAVAILABLE"}}
    if isinstance(cause, Resync):
        return {"message": str(cause), "extensions": {"code": "RESYNC", "cursor": cause.cursor}}
    for kind, code in _CODES:
        if isinstance(cause, kind):
            return {"message": str(cause), "extensions": {"code": code}}
    error_id = str(uuid4())
    log.error("internal_error", error_id=error_id, field=_field(error), exc_info=cause)
    return {"message": f"internal error, id {error_id}", "extensions": {"code": "INTERNAL"}}


def _field(error: GraphQLError) -> str | None:
    """As the schema names it: the error's own path has the aliases, which are texts of the client's."""
    node = error.nodes[0] if error.nodes else None
    return node.name.value if isinstance(node, FieldNode) else None


def cause_of(error: GraphQLError) -> Exception | None:
    """The exception of ours behind the error; None when graphql-core itself refused."""
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
