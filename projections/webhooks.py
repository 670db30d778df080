"""Webhook endpoints: one row each, a removed one among them, so that its id is known to be gone."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.webhooks import EndpointState, WebhookEndpoint
from projections.view import Recorded, View


class WebhookRow(Struct, frozen=True, kw_only=True):
    id: UUID
    owner_id: UUID
    url: str
    types: tuple[str, ...]
    state: EndpointState
    created_at: datetime
    version: int = 0
    position: int = 0


def evolve(row: WebhookRow | None, recorded: Recorded) -> WebhookRow:  # noqa: PLR0911  # one line per event
    match recorded.event:
        case WebhookEndpoint.Created() as registered:
            return WebhookRow(
                id=recorded.aggregate_id,
                owner_id=registered.owner_id,
                url=registered.url,
                types=registered.types,
                state=EndpointState.ACTIVE,
                created_at=registered.timestamp,
            )
    assert row is not None, recorded
    match recorded.event:
        case WebhookEndpoint.Updated(url=url, types=types):
            return replace(row, url=row.url if url is None else url, types=row.types if types is None else types)
        case WebhookEndpoint.Paused():
            return replace(row, state=EndpointState.PAUSED)
        case WebhookEndpoint.Resumed():
            return replace(row, state=EndpointState.ACTIVE)
        case WebhookEndpoint.Disabled():
            return replace(row, state=EndpointState.DISABLED)
        case WebhookEndpoint.Removed():
            return replace(row, state=EndpointState.REMOVED)
        case _:
            return row


WEBHOOKS: Final = View(
    name="webhooks", version=1, row=WebhookRow, follows=frozenset({WebhookEndpoint.TOPIC}), evolve=evolve
)
