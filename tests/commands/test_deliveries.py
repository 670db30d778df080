"""What an endpoint is told, as data: which of its events begins, ends and drops which stretch of the log."""

from __future__ import annotations

import pytest

from commands.deliveries import BeginAgain, EndStretch, Forget, Recipient, Tell, after_event, wants
from domain import EVENT_TYPES
from domain.webhooks import EndpointState
from tests.domain.test_webhooks import DISABLE, PAUSE, REMOVE, RESUME, ROTATE, UPDATE, registered
from tests.given import Decision, decide, recorded

OLD, NEW = ("order.placed",), ("order.shipped",)
ELSEWHERE: Decision = ("update", {"url": "https://b.example/", "types": None, "known_types": EVENT_TYPES})


def replay(since: int, until: int | None) -> Decision:
    return ("replay", {"since": since, "until": until})


def told_after(*decisions: Decision) -> tuple[Recipient | None, list[object]]:
    """The recipient in the end, and every change; the events stand at 101, 102 and so on."""
    recipient: Recipient | None = None
    changes: list[object] = []
    for each in recorded(decide(registered(), *decisions).collect_events(), first_position=101):
        recipient, more = after_event(recipient, each.event, endpoint_id=each.aggregate_id, position=each.position)
        changes += more
    return recipient, changes


BEGUN = Tell(types=OLD, after=101)


@pytest.mark.parametrize(
    ("decisions", "state", "more"),
    [
        ([], "ACTIVE", []),
        ([ROTATE, ELSEWHERE], "ACTIVE", []),
        ([PAUSE], "PAUSED", []),
        ([PAUSE, RESUME], "ACTIVE", [BeginAgain()]),
        ([UPDATE], "ACTIVE", [EndStretch(102), Tell(types=NEW, after=102)]),
        ([PAUSE, UPDATE], "PAUSED", [EndStretch(103), Tell(types=NEW, after=103)]),
        ([DISABLE], "DISABLED", [Forget("the endpoint was disabled: 410 Gone")]),
        ([DISABLE, RESUME], "ACTIVE", [Forget("the endpoint was disabled: 410 Gone"), Tell(types=OLD, after=103)]),
        (
            [PAUSE, DISABLE, UPDATE, RESUME],
            "ACTIVE",
            [Forget("the endpoint was disabled: 410 Gone"), Tell(types=NEW, after=105)],
        ),
        ([REMOVE], None, [Forget(None)]),
        ([DISABLE, REMOVE], None, [Forget("the endpoint was disabled: 410 Gone"), Forget(None)]),
        ([replay(7, None)], "ACTIVE", [Tell(types=OLD, after=7, until=102, replay=True)]),
        ([replay(7, 9)], "ACTIVE", [Tell(types=OLD, after=7, until=9, replay=True)]),
        ([PAUSE, replay(7, 9_999)], "PAUSED", [Tell(types=OLD, after=7, until=103, replay=True)]),
    ],
)
def test_an_endpoint_is_told_what_follows_its_registration_while_it_is_not_disabled(
    decisions: list[Decision], state: str | None, more: list[object]
) -> None:
    recipient, changes = told_after(*decisions)
    assert changes == [BEGUN, *more]
    assert (recipient and recipient.state) == (None if state is None else EndpointState(state))


def test_an_event_of_an_endpoint_that_is_not_known_changes_nothing() -> None:
    (_, paused) = recorded(decide(registered(), PAUSE).collect_events())
    assert after_event(None, paused.event, endpoint_id=paused.aggregate_id, position=9) == (None, ())


def test_types_are_wanted_by_name_or_all_of_them() -> None:
    assert wants(OLD, "order.placed")
    assert not wants(OLD, "order.shipped")
    assert wants(("stock.received", "*"), "order.shipped")
