"""The list of void access tokens: what is on it, for how long, how much of it there is, and when it may be asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from adapters import void_tokens
from adapters.access_tokens import ACCESS_TOKEN_S, AccessTokens
from adapters.void_tokens import ENTRIES_MAX, KEPT_S, LIMITS_MAX, TRUSTED_S, Claims, TokensUnchecked, VoidTokens
from commands.void_tokens import VOIDING_EVENTS, Voided, voided_by
from domain.errors import Unauthenticated
from domain.users import Role, User
from tests.given import NOW

ADA, BOB, PHONE, LAPTOP = (UUID(int=number) for number in range(1, 5))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment by `time.monotonic`, to be moved."""
    moment = [1_000.0]
    monkeypatch.setattr(void_tokens, "monotonic", lambda: moment[0])
    return moment


def claims(user: UUID = ADA, session: UUID = PHONE, version: int = 3, expires_at: float = 2e9) -> Claims:
    return Claims(user, (Role.STAFF,), session, version, expires_at)


def trusted(*voided: Voided) -> VoidTokens:
    listed = VoidTokens()
    for each in voided:
        listed.add(each)
    listed.trust(void_tokens.monotonic())
    return listed


def test_a_token_issued_before_the_event_is_void_and_one_issued_after_it_is_good(now: list[float]) -> None:
    listed = trusted(Voided(ADA, 5))
    assert [version for version in range(8) if listed.is_void(claims(version=version))] == [0, 1, 2, 3, 4]
    assert not listed.is_void(claims(BOB, version=1))
    listed.add(Voided(ADA, 4))
    assert not listed.is_void(claims(version=5))


def test_an_ended_session_has_no_good_token_whatever_its_version_and_others_are_untouched(now: list[float]) -> None:
    listed = trusted(Voided(ADA, 5, frozenset({PHONE})))
    assert listed.is_void(claims(session=PHONE, version=9))
    assert not listed.is_void(claims(session=LAPTOP, version=1))


def test_a_kept_session_keeps_its_token_and_gets_nothing_back_that_was_taken_before(now: list[float]) -> None:
    listed = trusted(Voided(ADA, 5, kept=PHONE))
    assert listed.is_void(claims(session=LAPTOP, version=4))
    assert not listed.is_void(claims(session=PHONE, version=4))
    listed.add(Voided(ADA, 6, kept=LAPTOP))
    assert listed.is_void(claims(session=LAPTOP, version=4))
    assert not listed.is_void(claims(session=LAPTOP, version=5))
    assert listed.is_void(claims(session=PHONE, version=5))
    listed.add(Voided(ADA, 7))
    assert listed.is_void(claims(session=LAPTOP, version=6))
    for number in range(LIMITS_MAX + 1):
        listed.add(Voided(BOB, 10 + number, kept=PHONE))
    assert listed.is_void(claims(BOB, PHONE, 10))
    assert not listed.is_void(claims(BOB, PHONE, 10 + LIMITS_MAX))


def test_what_was_stored_here_hides_nothing_of_what_is_read_afterwards(now: list[float]) -> None:
    listed = trusted(Voided(ADA, 7, kept=PHONE), Voided(ADA, 5))
    assert listed.is_void(claims(session=PHONE, version=4))
    assert not listed.is_void(claims(session=PHONE, version=5))
    assert listed.is_void(claims(session=LAPTOP, version=6))
    now[0] += KEPT_S
    listed.prune()
    assert (len(listed), listed._limits) == (0, {})


def test_what_no_token_outlives_is_forgotten_and_nothing_sooner(now: list[float]) -> None:
    listed = trusted(Voided(ADA, 5), Voided(BOB, 2, frozenset({PHONE})))
    assert KEPT_S > ACCESS_TOKEN_S
    now[0] += KEPT_S - 1
    listed.add(Voided(ADA, 7))
    assert listed.is_void(claims(version=6))
    assert listed.is_void(claims(BOB, PHONE, 9))
    now[0] += 2
    listed.prune()
    assert listed.is_void(claims(version=6))
    assert not listed.is_void(claims(BOB, PHONE, 9))
    assert len(listed) == 1
    now[0] += KEPT_S
    listed.prune()
    assert (len(listed), listed.is_void(claims(version=6))) == (0, False)


def test_more_than_fits_makes_every_token_void_that_is_out(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENTRIES_MAX == 500_000
    monkeypatch.setattr(void_tokens, "ENTRIES_MAX", 3)
    monkeypatch.setattr(void_tokens, "time", lambda: 50_000.0)
    listed = trusted(*(Voided(uuid4(), 2) for _ in range(3)))
    assert not listed.is_void(claims(BOB, expires_at=50_100))
    listed.add(Voided(ADA, 2))
    assert listed.is_void(claims(BOB, expires_at=50_000 + ACCESS_TOKEN_S))
    assert not listed.is_void(claims(BOB, expires_at=50_001 + ACCESS_TOKEN_S))
    assert len(listed) == 0


async def test_who_cannot_be_asked_any_more_accepts_no_token(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    listed = trusted()
    tokens = AccessTokens(b"k" * 32, void=listed)
    token = tokens.issue(ADA, [Role.CUSTOMER], PHONE, version=1, now=datetime.now(UTC))
    assert tokens.verify(token).user_id == ADA
    now[0] += TRUSTED_S
    with pytest.raises(TokensUnchecked):
        tokens.verify(token)
    monkeypatch.setattr(void_tokens, "HEARD_WAIT_S_MAX", 0.0)
    with pytest.raises(TokensUnchecked):
        await listed.heard()
    listed.trust(now[0])
    await listed.heard()
    assert tokens.verify(token).user_id == ADA


def test_a_token_that_was_verified_before_is_refused_once_it_is_void(now: list[float]) -> None:
    listed = trusted()
    tokens = AccessTokens(b"k" * 32, void=listed)
    token = tokens.issue(ADA, [Role.ADMIN], PHONE, version=4, now=datetime.now(UTC))
    assert tokens.verify(token) == Claims(ADA, (Role.ADMIN,), PHONE, 4, tokens.verify(token).expires_at)
    listed.add(Voided(ADA, 5))
    with pytest.raises(Unauthenticated, match="taken away"):
        tokens.verify(token)


def test_a_token_of_an_earlier_release_names_no_version_and_is_void_with_the_first_event(now: list[float]) -> None:
    listed = trusted()
    tokens = AccessTokens(b"k" * 32, void=listed)
    token = tokens.issue(ADA, [Role.ADMIN], PHONE, now=datetime.now(UTC) - timedelta(seconds=5))
    tokens.verify(token)
    listed.add(Voided(ADA, 1))
    with pytest.raises(Unauthenticated):
        tokens.verify(token)


async def test_who_waits_for_a_token_to_become_void_is_woken_and_leaves_nothing(now: list[float]) -> None:
    listed = trusted()
    waiting = [asyncio.create_task(listed.until_void(claims(session=each))) for each in (PHONE, LAPTOP)]
    await asyncio.sleep(0)
    listed.add(Voided(ADA, 9, frozenset({PHONE})))
    await waiting[0]
    assert not waiting[1].done()
    listed.add(Voided(ADA, 10))
    await waiting[1]
    assert not listed._watchers


def test_what_is_stored_in_this_process_counts_at_once(now: list[float]) -> None:
    user = User.register(user_id=ADA, sealed_email="e", sealed_name="n", roles=(Role.STAFF,), now=NOW)  # type: ignore[arg-type]
    user.revoke(role=Role.STAFF, by="user:1", now=NOW)
    events = user.collect_events()
    assert [voided_by(each) for each in events] == [None, Voided(ADA, 2)]
    listed = trusted()
    listed.note(events)
    assert listed.is_void(claims(version=1))


def test_every_event_that_takes_something_away_makes_tokens_void() -> None:
    """Of all others none does: an event that is added is judged here."""
    harmless = {
        "Created", "ProfileUpdated", "RoleGranted", "SignedIn", "SignInFailed", "MfaEnabled", "MfaDisabled",
        "EmailVerified", "EmailChangeRequested", "EmailChanged", "EmailChangeUndone", "PasswordChanged",
        "Resumed", "AdminActed",
    }  # fmt: skip
    events = {name for name, each in vars(User).items() if isinstance(each, type) and name != "Event"}
    assert events - harmless == {each.__name__ for each in VOIDING_EVENTS}
