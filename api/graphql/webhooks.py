"""Webhook endpoints: where an integrator wants which events."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import strawberry
from psycopg.sql import SQL

from api.graphql.context import Info, RequestContext, parsed_id, required_id
from api.graphql.cursors import page_size
from api.graphql.deliveries import DELIVERIES, Delivery, DeliveryState, states_of
from api.graphql.events import parsed_position
from api.graphql.node import Node
from api.graphql.receipts import Answer, OkPayload, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import Cursor
from commands.doors import PLAIN
from commands.handling import integrator
from commands.webhooks import (
    PauseWebhook,
    RegisterWebhook,
    RemoveWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    TestWebhook,
)
from domain import may_read
from domain import webhooks as domain
from domain.disclosure import hidden_repr
from domain.identity import WebhookEndpointId
from domain.users import Role
from projections.webhooks import WEBHOOKS, WebhookRow

# An integrator has a handful; the oldest are shown.
ENDPOINTS_MAX: Final = 1_000


@strawberry.enum(description="Is an endpoint told anything?")
class EndpointState(Enum):
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"


@strawberry.type(description="An address that is told of events.")
class WebhookEndpoint(Node):
    url: str = strawberry.field(description="Where deliveries are posted.")
    types: list[str] = strawberry.field(description="The event types, or * for all.")
    state: EndpointState = strawberry.field(description="Is it told anything?")
    created_at: datetime = strawberry.field(description="When it was registered.")
    version: int = strawberry.field(description="The endpoint's version.")

    @resolver("What was posted there, or is to be: the newest first. Kept for 7 days, what has failed for 30.")
    async def deliveries(
        self, info: Info, first: int | None = DELIVERIES, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Raises Invalid for a number outside 1 to 100."""
        size, endpoint_id = page_size(first, usual=DELIVERIES), parsed_id(self.id)
        assert endpoint_id is not None
        rows = await info.context.deliveries_of(size, tuple(states_of(state))).load(endpoint_id)
        roles = info.context.actor.roles
        return [Delivery.of(row) for row in rows or () if may_read(roles, row.event_type)]

    @classmethod
    def of(cls, row: WebhookRow) -> WebhookEndpoint:
        """The row as it is shown; not for a removed one."""
        return cls(
            id=strawberry.ID(str(row.id)),
            url=row.url,
            types=list(row.types),
            state=EndpointState(row.state.value),
            created_at=row.created_at,
            version=row.version,
        )

    @classmethod
    def of_aggregate(cls, endpoint: domain.WebhookEndpoint) -> WebhookEndpoint | None:
        """The endpoint as a command left it; None for a removed one."""
        if endpoint.state is domain.EndpointState.REMOVED:
            return None
        return cls(
            id=strawberry.ID(str(endpoint.id)),
            url=endpoint.url,
            types=list(endpoint.types),
            state=EndpointState(endpoint.state.value),
            created_at=endpoint.created_on,
            version=endpoint.version,
        )


@strawberry.type(description="The answer about a webhook endpoint.")
class WebhookPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    endpoint: WebhookEndpoint | None = strawberry.field(description="The endpoint after it.")
    secret: str | None = strawberry.field(description="What signs deliveries. Told once, never to a repeated request.")
    __repr__ = hidden_repr

    @classmethod
    def of(cls, answer: Answer) -> WebhookPayload:
        """The answer in the contract's shape."""
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            endpoint=answer.shown(domain.WebhookEndpoint, WebhookEndpoint.of_aggregate),
            secret=answer.outcome.secret.get("secret") if answer.outcome else None,
        )


@strawberry.input(description="A new webhook endpoint.")
class RegisterWebhookInput:
    url: str = strawberry.field(description="https, or http on this machine.")
    types: list[str] = strawberry.field(description="Event types like order.placed, or * for all.")


async def webhook_endpoint_by_id(context: RequestContext, row_id: UUID) -> WebhookEndpoint | None:
    """The endpoint, unless it was removed or is not the reader's to see."""
    actor = context.actor
    if actor.roles.isdisjoint({Role.INTEGRATOR, Role.ADMIN}):
        return None
    row = (await context.rows(WEBHOOKS, [row_id])).get(row_id)
    if row is None or row.state is domain.EndpointState.REMOVED:
        return None
    return WebhookEndpoint.of(row) if Role.ADMIN in actor.roles or row.owner_id == actor.user_id else None


@strawberry.type
class WebhooksQuery:
    @resolver("The endpoints, oldest first: one's own for INTEGRATOR, all for ADMIN.", who=integrator, door=PLAIN)
    async def webhook_endpoints(self, info: Info) -> list[WebhookEndpoint]:
        """At most ENDPOINTS_MAX. Raises Unauthenticated or Forbidden."""
        context = info.context
        await context.freshness.settle(WEBHOOKS)
        condition = SQL("state <> 'REMOVED' AND (%s OR owner_id = %s) ORDER BY created_at, id LIMIT %s")
        parameters = [Role.ADMIN in context.actor.roles, context.actor.user_id, ENDPOINTS_MAX]
        return [WebhookEndpoint.of(row) for row in await context.kontor.reads.where(WEBHOOKS, condition, parameters)]


@strawberry.type
class WebhooksMutation:
    @resolver("Have events posted to an address; for INTEGRATOR.")
    async def register_webhook(
        self, info: Info, input: RegisterWebhookInput, idempotency_key: strawberry.ID | None = None
    ) -> WebhookPayload:
        """See `commands.webhooks.register_webhook`."""
        request = RegisterWebhook(url=input.url, types=tuple(input.types))
        return WebhookPayload.of(await answered(info.context, lambda: request, idempotency_key))

    @resolver("Another secret; the old one signs too for 24 hours.")
    async def rotate_webhook_secret(
        self, info: Info, endpoint_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> WebhookPayload:
        """See `commands.webhooks.rotate_webhook_secret`."""
        return WebhookPayload.of(await _about(info, RotateWebhookSecret, endpoint_id, idempotency_key))

    @resolver("Let deliveries wait.")
    async def pause_webhook(
        self, info: Info, endpoint_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> WebhookPayload:
        """See `commands.webhooks.pause_webhook`."""
        return WebhookPayload.of(await _about(info, PauseWebhook, endpoint_id, idempotency_key))

    @resolver("Let deliveries go on.")
    async def resume_webhook(
        self, info: Info, endpoint_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> WebhookPayload:
        """See `commands.webhooks.resume_webhook`."""
        return WebhookPayload.of(await _about(info, ResumeWebhook, endpoint_id, idempotency_key))

    @resolver("Post nothing there any more.")
    async def remove_webhook(
        self, info: Info, endpoint_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> OkPayload:
        """See `commands.webhooks.remove_webhook`."""
        return OkPayload.of(await _about(info, RemoveWebhook, endpoint_id, idempotency_key))

    @resolver("Have what stands after `since` in the log posted again, in order, up to `until` or up to now.")
    async def replay_webhook(
        self,
        info: Info,
        endpoint_id: strawberry.ID,
        since: Cursor,
        until: Cursor | None = None,
        idempotency_key: strawberry.ID | None = None,
    ) -> WebhookPayload:
        """See `commands.webhooks.replay_webhook`."""

        def request() -> ReplayWebhook:
            return ReplayWebhook(
                endpoint_id=_named(endpoint_id),
                since=parsed_position(since, field="since"),
                until=None if until is None else parsed_position(until, field="until"),
            )

        return WebhookPayload.of(await answered(info.context, request, idempotency_key))

    @resolver("Post an event that says nothing, and learn what the endpoint answers.")
    async def test_webhook(self, info: Info, endpoint_id: strawberry.ID) -> OkPayload:
        """See `commands.webhooks.test_webhook`."""
        return OkPayload.of(await _about(info, TestWebhook, endpoint_id, None))


def _named(endpoint_id: str) -> WebhookEndpointId:
    return WebhookEndpointId(required_id(endpoint_id, what="webhook endpoint", field="endpointId"))


async def _about(info: Info, command: Any, endpoint_id: str, key: str | None) -> Answer:
    def request() -> Any:
        return command(endpoint_id=_named(endpoint_id))

    return await answered(info.context, request, key)
