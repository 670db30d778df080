"""What an operation is let through: its document of a reasonable shape, its cost within the bounds, its time limited.

`admit` is the one place that decides; whoever executes operations calls it between validation and execution. The order
is: `checked_request` before anything is parsed, `refuse_shape` before validation, `admit` before execution.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from graphql import GraphQLError
from strawberry.extensions import SchemaExtension

from adapters.security_log import tell
from api.graphql.allowance import Allowance
from api.graphql.context import RequestContext
from api.graphql.documents import Document, Documents
from api.graphql.shape import BRACKETS_MAX, DOCUMENT_CHARS_MAX, nested_too_deep
from commands.handling import Actor
from commands.security_events import SecurityEvent

VARIABLES_MAX: Final = 50
VALUES_MAX: Final = 20_000  # an order of 2,000 lines with agreed prices has 10,000
VALUE_DEPTH_MAX: Final = 10
TEXT_CHARS_MAX: Final = 100_000
REFUSED: Final = 1  # points for what is refused before its cost is known


@dataclass(frozen=True, slots=True)
class Charge:
    """What an operation was charged with; `available` is what the actor's bucket has left."""

    requested: int
    available: int
    restore_rate: int

    def report(self) -> dict[str, int]:
        """`extensions.cost`."""
        return {"requested": self.requested, "available": self.available, "restoreRate": self.restore_rate}


class CostLimitExceeded(GraphQLError):
    """Nothing was executed. `charge` is for the report."""

    def __init__(self, message: str, charge: Charge, **numbers: Any) -> None:
        super().__init__(message, extensions={"code": "COST_LIMIT_EXCEEDED", **charge.report(), **numbers})
        self.charge = charge


class TimeLimitExceeded(GraphQLError):
    """The operation was given up."""


def checked_request(document: str | None, variables: Mapping[str, Any] | None) -> None:
    """Raises GraphQLError for a text or variables that are larger than any honest ones."""
    if document is not None and len(document) > DOCUMENT_CHARS_MAX:
        raise bad_request(f"The document has {len(document)} characters; at most {DOCUMENT_CHARS_MAX} are allowed.")
    if document is not None and nested_too_deep(document):
        raise bad_request(f"The document's brackets are nested deeper than {BRACKETS_MAX} levels.")
    if not variables:
        return
    if len(variables) > VARIABLES_MAX:
        raise bad_request(f"There are {len(variables)} variables; at most {VARIABLES_MAX} are allowed.")
    _checked_values(variables)


def _checked_values(variables: Mapping[str, Any]) -> None:
    seen, level = 0, list(variables.values())
    for _ in range(VALUE_DEPTH_MAX):
        seen += len(level)
        if seen > VALUES_MAX:
            raise bad_request(f"The variables have more than {VALUES_MAX} values.")
        below: list[Any] = []
        for value in level:
            if isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
                raise bad_request(f"A variable has a text of {len(value)} characters; at most {TEXT_CHARS_MAX}.")
            if isinstance(value, list):
                below += value
            elif isinstance(value, dict):
                below += value.values()
        if not below:
            return
        level = below
    raise bad_request(f"The variables are nested deeper than {VALUE_DEPTH_MAX} levels.")


def refuse_shape(document: Document, *, introspection: bool) -> None:
    """Raises GraphQLError for a document that is not to be validated; see `api.graphql.shape`."""
    if refusal := document.refusal(introspection=introspection):
        raise bad_request(refusal)


def may_introspect(context: RequestContext) -> bool:
    """May the request ask about the schema?"""
    return context.allowance is None or context.allowance.introspection


def bad_request(message: str) -> GraphQLError:
    """The client's to correct."""
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


async def admit(
    context: RequestContext,
    document: Document,
    operation_name: str | None,
    variables: Mapping[str, Any] | None,
) -> Charge | None:
    """Take the operation's points from the actor's bucket; the document must have been found valid. None without an
    allowance.

    Raises CostLimitExceeded above what one operation may cost, and above what the bucket has."""
    try:
        cost = document.cost(operation_name)
    except LookupError as error:
        raise bad_request(str(error)) from None
    if context.allowance is None:
        return None
    try:
        return await _taken(context.allowance, cost.of(variables))
    except CostLimitExceeded:
        tell_points_limited(context.actor, ", ".join(document.roots(operation_name)))
        raise


async def _taken(allowance: Allowance, points: int) -> Charge:
    if points > allowance.cost_max:
        charge = await charged(allowance, points, REFUSED)
        raise CostLimitExceeded(
            f"The operation costs {points} points, and one may cost {allowance.cost_max}: ask for fewer rows (`first`)"
            " or fields.",
            charge,
            maximum=allowance.cost_max,
        )
    taken = await allowance.take(points)
    charge = Charge(points, taken.left, allowance.buckets.rate)
    if taken.granted:
        return charge
    wait_s = taken.wait_s
    raise CostLimitExceeded(
        f"The operation costs {points} points and {taken.left} are left; send it again in {ceil(wait_s)} s.",
        charge,
        retryAfterSeconds=round(wait_s, 3),
    )


def tell_points_limited(actor: Actor, what: str) -> None:
    """Once for each refusal by points. `what` has names of ours alone, never an operation's, which a client chooses."""
    tell(SecurityEvent.POINTS_LIMITED, who=actor.name, what=what, outcome="refused")


async def charged(allowance: Allowance, requested: int, points: int) -> Charge:
    """Takes these points for an operation that is refused, if there are any."""
    taken = await allowance.take(points)
    return Charge(requested, taken.left, allowance.buckets.rate)


@asynccontextmanager
async def time_limit(allowance: Allowance | None) -> AsyncIterator[None]:
    """Cancels what is within after the allowance's time. Raises TimeLimitExceeded, with the code TIMEOUT, then."""
    most_s = allowance.timeout_s if allowance else None
    try:
        async with asyncio.timeout(most_s) as limit:
            yield
    except TimeoutError:
        if most_s is None or not limit.expired():
            raise
        raise TimeLimitExceeded(
            f"The operation took longer than {most_s:g} s and was given up. A mutation may have been done: send it"
            " again with the same idempotency key.",
            extensions={"code": "TIMEOUT"},
        ) from None


class Limits(SchemaExtension):
    """Applies all of this to what Strawberry executes, and tells the cost in every answer. Documents come from where
    they are kept: what was seen lately is neither parsed nor validated again."""

    def __init__(self) -> None:
        self._charge: Charge | None = None
        self._document: Document | None = None

    def on_operation(self) -> Iterator[None]:
        """Before parsing."""
        execution = self.execution_context
        checked_request(execution.query, execution.variables)
        if execution.query:
            documents: Documents = execution.schema.documents  # type: ignore[attr-defined]  # it is a KontorSchema
            # What cannot be parsed is told where the library tells it, which tries again.
            with suppress(GraphQLError, RecursionError):
                self._document = documents.of(execution.query)
                execution.graphql_document = self._document.tree
        yield

    def on_validate(self) -> Iterator[None]:
        """Before validation."""
        document, execution = self._parsed(), self.execution_context
        refuse_shape(document, introspection=may_introspect(execution.context))
        execution.pre_execution_errors = document.errors
        yield

    async def on_execute(self) -> AsyncIterator[None]:
        """Before and during execution."""
        try:
            self._charge = await self._admitted()
        except CostLimitExceeded as refused:
            self._charge = refused.charge
            raise
        async with time_limit(self.execution_context.context.allowance):
            yield

    def _parsed(self) -> Document:
        """What is to be executed."""
        execution = self.execution_context
        assert execution.graphql_document is not None
        if self._document is None or self._document.tree is not execution.graphql_document:
            self._document = Document(execution.schema._schema, execution.graphql_document)
        return self._document

    async def _admitted(self) -> Charge | None:
        """Once, if the compiled path has tried before."""
        execution = self.execution_context
        charge, execution.context.charge = execution.context.charge, None
        if isinstance(charge, CostLimitExceeded):
            raise charge
        if isinstance(charge, Charge):
            return charge
        return await admit(execution.context, self._parsed(), execution.operation_name, execution.variables)

    async def get_results(self) -> dict[str, Any]:
        """`extensions.cost`; what was refused before its cost was known takes a point, too."""
        allowance: Allowance | None = self.execution_context.context.allowance
        if self._charge is None and allowance is not None:
            self._charge = await charged(allowance, 0, REFUSED)
        return {"cost": self._whole(self._charge).report()} if self._charge else {}

    def _whole(self, charge: Charge) -> Charge:
        """With what was found out on the way, see `api.graphql.charging`."""
        context = self.execution_context.context
        if not context.charged_more:
            return charge
        return Charge(charge.requested + context.charged_more, context.left, charge.restore_rate)
