"""The view of webhook endpoints: which events make which row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain import EVENT_TYPES
from domain.webhooks import EndpointState, WebhookEndpoint
from projections.webhooks import WEBHOOKS, WebhookRow
from tests.domain.test_webhooks import DISABLE, PAUSE, REMOVE, RESUME, ROTATE, URL, registered
from tests.given import CUSTOMER_ID, NOW, Decision, decide, recorded


def rows(endpoint: WebhookEndpoint, *, first_position: int = 101) -> list[Any]:
    """The row after each event."""
    row, folded = None, []
    for each in recorded(endpoint.collect_events(), first_position=first_position):
        row = WEBHOOKS.fold(row, each)
        folded.append(row)
    return folded


def row_after(*decisions: Decision) -> Any:
    return rows(decide(registered(), *decisions))[-1]


def test_a_registered_endpoint_is_an_active_row() -> None:
    assert row_after() == WebhookRow(
        id=registered().id,
        owner_id=CUSTOMER_ID,
        url=URL,
        types=("order.placed",),
        state=EndpointState.ACTIVE,
        created_at=NOW,
        version=1,
        position=101,
    )


def update(**changed: Any) -> Decision:
    return ("update", {"url": None, "types": None, "known_types": EVENT_TYPES} | changed)


CHANGED: dict[str, tuple[Decision, dict[str, Any]]] = {
    "another address": (update(url="https://b.example/"), {"url": "https://b.example/"}),
    "other types": (update(types=["*"]), {"types": ("*",)}),
    "both": (
        update(url="https://b.example/", types=["kontor.stock.received"]),
        {"url": "https://b.example/", "types": ("stock.received",)},
    ),
    "another secret": (ROTATE, {}),
    "paused": (PAUSE, {"state": EndpointState.PAUSED}),
    "disabled": (DISABLE, {"state": EndpointState.DISABLED}),
    "removed": (REMOVE, {"state": EndpointState.REMOVED}),
}


@pytest.mark.parametrize(("decision", "change"), CHANGED.values(), ids=CHANGED)
def test_a_row_follows_what_is_decided(decision: Decision, change: dict[str, Any]) -> None:
    assert row_after(decision) == replace(row_after(), **change, version=2, position=102)


@pytest.mark.parametrize("stopped", [PAUSE, DISABLE], ids=lambda each: each[0])
def test_a_resumed_endpoint_is_active_again(stopped: Decision) -> None:
    assert row_after(stopped, RESUME) == replace(row_after(), version=3, position=103)


def test_the_row_and_the_endpoint_agree_after_every_event() -> None:
    decisions = [PAUSE, RESUME, ROTATE, DISABLE, update(types=["*"]), RESUME, update(url="https://b.example/"), REMOVE]
    endpoint: Any = None
    row: Any = None
    for each in recorded(decide(registered(), *decisions).collect_events()):
        endpoint, row = each.event.mutate(endpoint), WEBHOOKS.fold(row, each)
        shown = (endpoint.id, endpoint.owner_id, endpoint.url, endpoint.types, endpoint.state, endpoint.version)
        assert (row.id, row.owner_id, row.url, row.types, row.state, row.version) == shown
        assert (row.created_at, row.position) == (endpoint.created_on, each.position)
    assert row.version == 1 + len(decisions)


def test_the_time_of_registering_is_not_the_time_of_the_last_event() -> None:
    late = decide(registered(), PAUSE, now=NOW + timedelta(days=1))
    assert rows(late)[-1].created_at == NOW


def test_a_view_that_misses_the_first_event_fails_loudly() -> None:
    (_, paused) = recorded(decide(registered(), PAUSE).collect_events())
    with pytest.raises(AssertionError):
        WEBHOOKS.fold(None, paused)
