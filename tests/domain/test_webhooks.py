"""Webhook endpoints: every decision in every state, and which addresses and types can be."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain import EVENT_TYPES
from domain.errors import IllegalTransition, Invalid
from domain.identity import WebhookEndpointId
from domain.webhooks import (
    POSITION_MAX,
    TYPES_MAX,
    URL_LENGTH_MAX,
    EndpointState,
    WebhookEndpoint,
    valid_types,
    valid_url,
)
from tests.given import CUSTOMER_ID, NOW, Decision, Told, decide, told

S = EndpointState
URL = "https://shop.example/hooks"
UPDATE: Decision = ("update", {"url": None, "types": ["order.shipped"], "known_types": EVENT_TYPES})
ROTATE: Decision = ("rotate_secret", {})
PAUSE: Decision = ("pause", {"reason": "holidays"})
RESUME: Decision = ("resume", {})
DISABLE: Decision = ("disable", {"reason": "410 Gone"})
REMOVE: Decision = ("remove", {})
REPLAY: Decision = ("replay", {"since": 7, "until": None})
DECISIONS = [UPDATE, ROTATE, PAUSE, RESUME, DISABLE, REMOVE, REPLAY]
WAY: dict[EndpointState, list[Decision]] = {S.ACTIVE: [], S.PAUSED: [PAUSE], S.DISABLED: [DISABLE], S.REMOVED: [REMOVE]}
SAID: dict[str, Told] = {
    "update": ("webhook.updated", {"url": None, "types": ["order.shipped"]}),
    "rotate_secret": ("webhook.secret_rotated", {}),
    "pause": ("webhook.paused", {"reason": "holidays"}),
    "resume": ("webhook.resumed", {}),
    "disable": ("webhook.disabled", {"reason": "410 Gone"}),
    "remove": ("webhook.removed", {}),
    "replay": ("webhook.replay_requested", {"since": 7, "until": None}),
}
LIVING = (S.ACTIVE, S.PAUSED, S.DISABLED)
LEADS = {
    "update": {state: state for state in LIVING},
    "rotate_secret": {state: state for state in LIVING},
    "pause": {S.ACTIVE: S.PAUSED},
    "resume": {S.PAUSED: S.ACTIVE, S.DISABLED: S.ACTIVE},
    "disable": {S.ACTIVE: S.DISABLED, S.PAUSED: S.DISABLED},
    "remove": dict.fromkeys(LIVING, S.REMOVED),
    "replay": {S.ACTIVE: S.ACTIVE, S.PAUSED: S.PAUSED},
}
SILENT: dict[str, set[EndpointState]] = {
    "update": set(),
    "rotate_secret": set(),
    "pause": {S.PAUSED},
    "resume": {S.ACTIVE},
    "disable": {S.DISABLED},
    "remove": {S.REMOVED},
    "replay": set(),
}
PAIRS = [(state, decision) for state in S for decision in DECISIONS]


def registered(url: str = URL, types: tuple[str, ...] = ("order.placed",)) -> WebhookEndpoint:
    return WebhookEndpoint.register(
        endpoint_id=WebhookEndpointId(UUID(int=9)),
        owner_id=CUSTOMER_ID,
        url=url,
        types=types,
        known_types=EVENT_TYPES,
        now=NOW,
    )


def in_state(state: EndpointState) -> WebhookEndpoint:
    endpoint: WebhookEndpoint = decide(registered(), *WAY[state])
    endpoint.collect_events()
    assert endpoint.state is state
    return endpoint


@pytest.mark.parametrize(("state", "decision"), PAIRS, ids=lambda each: each if isinstance(each, str) else each[0])
def test_a_decision_leads_on_is_silent_or_is_refused_by_name(state: EndpointState, decision: Decision) -> None:
    endpoint, wish = in_state(state), decision[0]
    if state in LEADS[wish]:
        assert told(decide(endpoint, decision)) == [SAID[wish]]
        assert endpoint.state is LEADS[wish][state]
    elif state in SILENT[wish]:
        assert told(decide(endpoint, decision)) == []
    else:
        allowed = " or ".join(each.value for each in LEADS[wish])
        with pytest.raises(IllegalTransition, match=f"is {state.value}; only a {allowed} one"):
            decide(endpoint, decision)
        assert told(endpoint) == []


@pytest.mark.parametrize(
    "values",
    [{"url": None, "types": None}, {"url": URL, "types": None}, {"url": URL, "types": ["kontor.order.placed"]}],
)
def test_what_is_so_already_is_not_recorded_again(values: dict[str, Any]) -> None:
    assert told(decide(in_state(S.ACTIVE), ("update", values | {"known_types": EVENT_TYPES}))) == []


def test_only_what_is_new_is_recorded() -> None:
    values = {"url": "https://other.example/", "types": ["order.placed"], "known_types": EVENT_TYPES}
    assert told(decide(in_state(S.ACTIVE), ("update", values))) == [
        ("webhook.updated", {"url": "https://other.example/", "types": None})
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "https://a.example:8443/x?y=1",
        "http://localhost:9000/",
        "http://127.0.0.1",
        "http://[::1]:1/",
        "http://LOCALHOST/",
        "https://a.example/" + "x" * (URL_LENGTH_MAX - 18),
    ],
)
def test_an_address_that_can_be_posted_to_is_taken(url: str) -> None:
    assert valid_url(f" {url} ") == url


@pytest.mark.parametrize(
    "url",
    ["", "shop.example", "http://a.example", "ftp://a.example", "https://", "https://u:p@a.example",
     "https://a.example/#x", "https://a.example/#", "https://@a.example", "https://:443/", "//a.example",
     "http://localhost.example/", "http://[::2]/", "https://a.example:99999", "https://[::1", "https://a b.example",
     "https://a.example/\x00", "javascript:alert(1)", "https://a.example/" + "x" * (URL_LENGTH_MAX - 17)],
)  # fmt: skip
def test_an_address_that_cannot_be_is_invalid(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        valid_url(url)
    assert refused.value.field == ("url",)


def test_types_are_kept_once_and_without_prefix() -> None:
    types = ["kontor.order.placed", "order.placed", "*", "stock.received"]
    assert valid_types(types, EVENT_TYPES) == ("order.placed", "*", "stock.received")


def test_as_many_types_as_there_may_be_are_kept_in_their_order() -> None:
    types = [f"order.number_{number}" for number in range(TYPES_MAX)]
    assert valid_types(types, types) == tuple(types)


def test_unknown_types_are_named() -> None:
    with pytest.raises(Invalid, match=r"^'order\.lost', 'payment\.found' is no event type"):
        valid_types(["order.lost", "order.placed", "kontor.payment.found"], EVENT_TYPES)


@pytest.mark.parametrize("types", [[], ["order"], ["order.lost"], ["**"], [""], ["order.placed"] * (TYPES_MAX + 1)])
def test_types_that_cannot_be_are_invalid(types: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        valid_types(types, EVENT_TYPES)
    assert refused.value.field == ("types",)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [(-1, None, "since"), (POSITION_MAX + 1, None, "since"), (7, 7, "until"), (7, 6, "until"), (7, 2**63, "until")],
)
def test_a_stretch_of_the_log_that_cannot_be_is_not_replayed(since: int, until: int | None, field: str) -> None:
    endpoint = in_state(S.ACTIVE)
    with pytest.raises(Invalid) as refused:
        endpoint.replay(since=since, until=until, now=NOW)
    assert (refused.value.field, told(endpoint)) == ((field,), [])


def test_the_shortest_and_the_longest_stretch_can_be_replayed() -> None:
    endpoint = in_state(S.ACTIVE)
    endpoint.replay(since=6, until=7, now=NOW)
    endpoint.replay(since=0, until=POSITION_MAX, now=NOW)
    assert len(told(endpoint)) == 2
