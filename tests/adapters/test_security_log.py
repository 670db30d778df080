"""The security log: each line counted, bounded and of one line, with ids alone."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from adapters.security_log import (
    COUNTED,
    LINES_BURST,
    SUBJECTS_MAX,
    TEXT_LENGTH_MAX,
    StructuredSecurityLog,
    asked_from,
    bounded,
    tell,
)
from commands import COMMANDS
from commands.catalogue import AddProduct
from commands.handling import ANONYMOUS, Pipeline
from commands.security_events import SecurityEvent
from commands.sessions import SignIn
from commands.users import EraseUser, GrantRole, RegisterUser
from domain.errors import BadCredentials, Forbidden, Unauthenticated, WeakPassword
from domain.identity import UserId
from domain.users import Role
from tests.given import ADMIN, CUSTOMER, GBP_2_55, PASSWORD, SYSTEM, InMemory


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """What is told from an address that no other test has."""
    with capture_logs() as told:
        asked_from(f"test-{uuid4()}", UUID(int=5))
        yield told
        asked_from("")


def watched() -> InMemory:
    kontor = InMemory()
    object.__setattr__(kontor.ports, "security", StructuredSecurityLog())
    kontor.pipeline = Pipeline(COMMANDS, kontor.ports)
    return kontor


def counted(event: SecurityEvent, outcome: str) -> float:
    return COUNTED.labels(event.value, outcome)._value.get()


def test_a_line_says_who_what_outcome_address_and_session(lines: list[Any]) -> None:
    tell(SecurityEvent.ROLE_CHANGED, who="user:1", what="GrantRole", subjects=["2"])
    (line,) = lines
    assert line["event"] == "security.role.changed"
    assert (line["who"], line["what"], line["outcome"], line["subjects"]) == ("user:1", "GrantRole", "done", ["2"])
    assert line["session_id"] == str(UUID(int=5))
    assert line["address"].startswith("test-")


def test_nothing_breaks_a_line_or_makes_it_long(lines: list[Any]) -> None:
    forged = 'x\n{"event": "security.role.changed"}\r\x1b[2K\u2028\u202e'
    many = [str(n) for n in range(100)]
    tell(SecurityEvent.RIGHT_REFUSED, who=forged, what="y" * 10_000, outcome="refused", subjects=many)
    (line,) = lines
    assert line["who"].isprintable()
    assert len(line["what"]) == TEXT_LENGTH_MAX
    assert (len(line["subjects"]), line["subjects_left_out"]) == (SUBJECTS_MAX, 100 - SUBJECTS_MAX)
    assert bounded("\ud800\0") == "\\ud800\\x00"


def test_a_flood_is_counted_whole_and_told_in_part(lines: list[Any]) -> None:
    before = counted(SecurityEvent.RATE_LIMITED, "refused")
    for _ in range(LINES_BURST * 10):
        tell(SecurityEvent.RATE_LIMITED, who="anonymous", what="SignIn", outcome="refused")
    assert counted(SecurityEvent.RATE_LIMITED, "refused") == before + LINES_BURST * 10
    assert LINES_BURST <= len(lines) < LINES_BURST * 2
    flooded = len(lines)
    contextvars.copy_context().run(lambda: (asked_from(f"other-{uuid4()}"), one_line()))
    assert len(lines) == flooded + 1  # another address is told


def one_line() -> None:
    tell(SecurityEvent.RATE_LIMITED, who="anonymous", what="SignIn", outcome="refused")


async def test_every_way_a_command_ends_is_told_by_the_pipeline(lines: list[Any]) -> None:
    kontor = watched()
    register = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
    for _ in range(2):
        await kontor.execute(register, ANONYMOUS)
    ada = UserId(await kontor.account_of("ada@example.com"))
    for request, actor, refusal in (
        (SignIn(email="ada@example.com", password="wrong"), ANONYMOUS, BadCredentials),
        (RegisterUser(email="bob@example.com", name="Bob", password="short"), ANONYMOUS, WeakPassword),
        (GrantRole(user_id=ada, role=Role.ADMIN), CUSTOMER, Forbidden),
        (AddProduct(sku="MUG", name="Mug", price=GBP_2_55), ANONYMOUS, Unauthenticated),
    ):
        with pytest.raises(refusal):
            await kontor.execute(request, actor)
    await kontor.execute(GrantRole(user_id=ada, role=Role.STAFF), SYSTEM)
    await kontor.execute(AddProduct(sku="MUG", name="Mug", price=GBP_2_55), SYSTEM)  # no right has changed
    await kontor.execute(EraseUser(user_id=ada), SYSTEM)
    assert [(line["event"], line["what"], line["outcome"]) for line in lines] == [
        ("security.account.opened", "RegisterUser", "done"),
        ("security.account.opened", "RegisterUser", "already_exists"),
        ("security.sign_in", "SignIn", "bad_credentials"),
        ("security.account.opened", "RegisterUser", "weak_password"),
        ("security.right.refused", "GrantRole", "refused"),
        ("security.identity.refused", "AddProduct", "refused"),
        ("security.role.changed", "GrantRole", "done"),
        ("security.account.erased", "EraseUser", "done"),
    ]
    told = repr(lines)
    assert str(ada) in repr(lines[0])
    assert all(each not in told for each in ("ada@example.com", "Ada'", PASSWORD, "wrong"))
    assert ADMIN.name not in told
