"""The common part of every mutation's answer: done or not, why not, and how to read what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import strawberry
from eventsourcing.domain import Aggregate

from adapters.consistency import Token
from api.graphql.context import RequestContext
from api.graphql.scalars import ConsistencyToken
from api.throttling import throttled
from commands.handling import Outcome
from domain.errors import DomainError

A = TypeVar("A", bound=Aggregate)


@strawberry.enum(description="Why something was refused.")
class UserErrorCode(Enum):
    INVALID = "INVALID"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    INSUFFICIENT_STOCK = "INSUFFICIENT_STOCK"
    ILLEGAL_TRANSITION = "ILLEGAL_TRANSITION"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    IDEMPOTENCY_KEY_MISMATCH = "IDEMPOTENCY_KEY_MISMATCH"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    IDEMPOTENCY_PREVIOUS_FAILED = "IDEMPOTENCY_PREVIOUS_FAILED"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    MFA_REQUIRED = "MFA_REQUIRED"
    MFA_INVALID = "MFA_INVALID"
    REAUTHENTICATION_REQUIRED = "REAUTHENTICATION_REQUIRED"
    TOKEN_REUSED = "TOKEN_REUSED"  # noqa: S105  # a code, not a secret
    WEAK_PASSWORD = "WEAK_PASSWORD"  # noqa: S105  # a code, not a secret
    RATE_LIMITED = "RATE_LIMITED"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"


@strawberry.type(description="What a person can correct.")
class UserError:
    code: UserErrorCode = strawberry.field(description="For programs.")
    message: str = strawberry.field(description="For people: what is wrong and what to do.")
    field: list[str] | None = strawberry.field(description="The input it speaks of, outermost name first.")

    @classmethod
    def of(cls, error: DomainError) -> UserError:
        """The rejection as it is shown."""
        return cls(code=UserErrorCode(error.code), message=error.message, field=list(error.field) or None)


@strawberry.type(description="Proof that a command was stored, and the means to read its effect.")
class Receipt:
    command_id: strawberry.ID = strawberry.field(description="The stored command.")
    token: ConsistencyToken = strawberry.field(description="Pass it as `consistentWith` to read what was written.")
    aggregate_id: strawberry.ID = strawberry.field(description="What the command was about.")
    version: int = strawberry.field(description="Its version after the command.")
    replayed: bool = strawberry.field(description="True when this key had been used before: nothing was done again.")

    @classmethod
    def of(cls, outcome: Outcome) -> Receipt:
        """The receipt of what the pipeline answered."""
        return cls(
            command_id=strawberry.ID(str(outcome.command_id)),
            token=ConsistencyToken(Token(outcome.heads).encoded()),
            aggregate_id=strawberry.ID(str(outcome.aggregate_id)),
            version=outcome.version,
            replayed=outcome.replayed,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's result before it has the shape of one mutation's payload."""

    outcome: Outcome | None = None
    aggregate: Aggregate | None = None
    errors: list[UserError] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.errors

    @property
    def receipt(self) -> Receipt | None:
        return None if self.outcome is None else Receipt.of(self.outcome)

    def shown(self, kind: type[A], show: Callable[[A], Any]) -> Any:
        """The aggregate as its GraphQL type; None when the command was refused."""
        return show(self.aggregate) if isinstance(self.aggregate, kind) else None


async def answered(context: RequestContext, request: Callable[[], Any], idempotency_key: str | None) -> Answer:
    """Execute the command that `request` makes. A DomainError, of either, becomes a user error; all else is raised.

    The aggregate comes from the command itself, or from the log for a repeated one, so it never waits for a view."""
    key = idempotency_key if idempotency_key is not None else context.idempotency_key
    try:
        wanted = request()
        async with throttled(context.kontor, wanted, actor=context.actor, address=context.address):
            outcome = await context.kontor.pipeline.execute(
                wanted, actor=context.actor, idempotency_key=key, correlation_id=context.correlation_id
            )
    except DomainError as error:
        return Answer(errors=[UserError.of(error)])
    aggregate = outcome.aggregate
    if aggregate is None:
        loaded = await context.kontor.store.load([outcome.aggregate_id])
        aggregate = loaded.get(outcome.aggregate_id, (None, None))[0]
    return Answer(outcome, aggregate)


@strawberry.type(description="The answer of what has nothing to show but that it was done.")
class OkPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")

    @classmethod
    def of(cls, answer: Answer) -> OkPayload:
        """The answer in the contract's shape."""
        return cls(ok=answer.ok, user_errors=answer.errors, receipt=answer.receipt)
