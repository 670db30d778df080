"""What each event about an account changes in its row."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.users import Role
from projections.users import USERS, UserRow
from tests.domain.test_account_lifecycle import registered
from tests.given import CUSTOMER_ID, NOW, Decision, decide, recorded

NOTHING: dict[str, Any] = {}
# What was decided before, what is decided now, how many events that is, what the row shows of it.
SHOWN: dict[str, tuple[list[Decision], Decision, int, dict[str, Any]]] = {
    "another address, asked for": ([], ("request_email_change", {"sealed_email": "e2"}), 1, {}),
    "another address": (
        [("request_email_change", {"sealed_email": "e2"})],
        ("confirm_email_change", {}),
        1,
        {"email_sealed": "e2"},
    ),
    "another name": ([], ("update_profile", {"sealed_name": "n2"}), 1, {"name_sealed": "n2"}),
    "a role": ([], ("grant", {"role": Role.STAFF, "by": "user:1"}), 1, {"roles": (Role.CUSTOMER, Role.STAFF)}),
    "a role less": ([], ("revoke", {"role": Role.CUSTOMER, "by": "user:1"}), 1, {"roles": ()}),
    "a second factor": ([], ("enable_mfa", {"reason": "r"}), 1, {"mfa_enabled": True}),
    "no second factor": (
        [("enable_mfa", {"reason": "r"})],
        ("disable_mfa", {"reason": "r"}),
        1,
        {"mfa_enabled": False},
    ),
    "another password": ([], ("change_password", {"reason": "r"}), 2, NOTHING),
    "sessions ended": ([], ("revoke_sessions", {"reason": "r"}), 1, NOTHING),
    "a verified address": ([], ("verify_email", {}), 1, NOTHING),
    "erased": (
        [("enable_mfa", {"reason": "r"})],
        ("erase", {"by": "user:1"}),
        1,
        {"email_sealed": "", "name_sealed": "", "roles": (), "mfa_enabled": False},
    ),
}


def row_after(*decisions: Decision) -> UserRow:
    row = None
    for each in recorded(decide(registered(), *decisions).collect_events()):
        row = USERS.fold(row, each)
    assert row is not None
    return row


def test_an_account_is_a_row_without_a_second_factor() -> None:
    assert row_after() == UserRow(
        id=CUSTOMER_ID,
        email_sealed="sealed e",
        name_sealed="sealed n",
        roles=(Role.CUSTOMER,),
        created_at=NOW.replace(second=0),
        mfa_enabled=False,
        version=1,
        position=101,
    )


@pytest.mark.parametrize(("before", "now", "events", "shows"), SHOWN.values(), ids=SHOWN)
def test_an_event_changes_what_it_tells_and_nothing_else(
    before: list[Decision], now: Decision, events: int, shows: dict[str, Any]
) -> None:
    row = row_after(*before)
    moved = {"version": row.version + events, "position": row.position + events}
    assert row_after(*before, now) == replace(row, **(moved | shows))
