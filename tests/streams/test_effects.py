"""The ledger of effects: planned once, done in turn, tried again, given up, and claimed from whoever has died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.circuit_breaker import FAILURES_MAX, OPEN_S_MIN, CircuitBreaker
from adapters.effects_ledger import KEPT_FOR, Effect, EffectsLedger, plan
from adapters.wiring import Kontor
from commands.effects import Cause, Dropped, Planned
from commands.ports import GatewayAway, GatewayRefused
from streams import effects as running
from streams.effects import Effects
from streams.settling import NotYet
from tests.erasing import erased_in_the_log

pytestmark = pytest.mark.servers
WAIT_S = 60.0
LEASE_S, DUE_S = 0.6, 0.4
AT_ONCE = 32
ORDER = UUID(int=7)


@pytest.fixture
def ledger(kontor: Kontor) -> EffectsLedger:
    return kontor.effects


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses of tests."""
    monkeypatch.setattr(running, "LOOK_S", 0.05)
    monkeypatch.setattr(running, "PAUSE_S_MIN", 0.02)


def planned(effect: str = "payment.authorise", subject: UUID = ORDER, **more: Any) -> Planned:
    return Planned(event_id=uuid4(), effect=effect, subject_id=subject, **more)


async def write(kontor: Kontor, *changes: Planned | Dropped) -> None:
    async with kontor.pool.connection() as connection, connection.transaction():
        await plan(connection, changes)


@asynccontextmanager
async def doing(ledger: EffectsLedger, do: Mapping[str, Callable[[Effect], Awaitable[None]]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(Effects(ledger, kind, each, at_once=AT_ONCE).run()) for kind, each in do.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def states(ledger: EffectsLedger) -> dict[str, list[str]]:
    """Per state, the effects in order."""
    found: dict[str, list[str]] = {}
    for each in reversed(await ledger.newest(["waiting", "done", "given_up"], limit=1_000)):
        found.setdefault(each.state, []).append(each.effect)
    return found


async def until(ledger: EffectsLedger, wanted: dict[str, list[str]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while await states(ledger) != wanted:
            await asyncio.sleep(0.02)


async def test_an_effect_is_planned_once_however_often_its_event_comes(kontor: Kontor, ledger: EffectsLedger) -> None:
    one = planned()
    for _ in range(3):
        await write(kontor, one)
    done: list[UUID] = []

    async def do(effect: Effect) -> None:
        done.append(effect.event_id)

    async with doing(ledger, {"payment": do}):
        await until(ledger, {"done": ["payment.authorise"]})
        await write(kontor, one)  # after it was done, too
        await asyncio.sleep(0.2)
    assert done == [one.event_id]


async def test_effects_of_one_kind_about_one_subject_are_done_in_turn_others_meanwhile(
    kontor: Kontor, ledger: EffectsLedger
) -> None:
    first, second = planned("payment.authorise"), planned("payment.return")
    other, mail = planned("payment.authorise", uuid4()), planned("mail.order_confirmed")
    await write(kontor, first, second, other, mail)
    said: list[str] = []
    go_on = asyncio.Event()
    names = {first.event_id: "first", second.event_id: "second", other.event_id: "other", mail.event_id: "mail"}

    async def do(effect: Effect) -> None:
        said.append(names[effect.event_id])
        if effect.event_id == first.event_id:
            await go_on.wait()

    async with doing(ledger, {"payment": do, "mail": do}):
        async with asyncio.timeout(WAIT_S):
            while len(said) < 3:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert set(said) == {"first", "other", "mail"}
        go_on.set()
        await until(
            ledger, {"done": ["payment.authorise", "payment.return", "payment.authorise", "mail.order_confirmed"]}
        )
    assert said[-1] == "second"


async def test_what_fails_is_tried_again_until_it_is_done(kontor: Kontor, ledger: EffectsLedger) -> None:
    await write(kontor, planned())
    attempts: list[int] = []

    async def do(effect: Effect) -> None:
        attempts.append(effect.attempts)
        if len(attempts) < 4:
            raise [GatewayAway("503"), NotYet("pending"), OSError("reset")][len(attempts) - 1]

    async with doing(ledger, {"payment": do}):
        await until(ledger, {"done": ["payment.authorise"]})
    (effect,) = await ledger.newest(["done"], limit=1)
    assert (attempts, effect.last_error) == ([1, 2, 3, 4], "OSError: reset")


@pytest.mark.parametrize(
    ("error", "time_s"),
    [(GatewayRefused("no such card"), 3_600), (GatewayAway("503"), -1)],
    ids=["refused", "too late"],
)
async def test_what_is_refused_or_takes_too_long_is_given_up_and_can_be_retried(
    kontor: Kontor, ledger: EffectsLedger, error: Exception, time_s: int
) -> None:
    ((now,),) = await kontor.reads.fetch("SELECT clock_timestamp()", [])  # type: ignore[arg-type]
    given_up = planned(give_up_at=now + timedelta(seconds=time_s))
    await write(kontor, given_up, planned("payment.return"))
    wrong = True

    async def do(effect: Effect) -> None:
        if wrong and effect.effect == "payment.authorise":
            raise error

    async with doing(ledger, {"payment": do}):
        # What comes behind it is not held up.
        await until(ledger, {"given_up": ["payment.authorise"], "done": ["payment.return"]})
        (effect,) = await ledger.newest(["given_up"], limit=1)
        assert (effect.attempts, effect.last_error) == (1, f"{type(error).__name__}: {error}")
        wrong = False
        assert await ledger.retry(uuid4()) == 0
        assert await ledger.retry(given_up.event_id) == 1
        await until(ledger, {"done": ["payment.authorise", "payment.return"]})


async def test_what_a_dead_worker_had_claimed_is_done_after_its_lease(kontor: Kontor, ledger: EffectsLedger) -> None:
    await write(kontor, planned())
    claimed_at = time.monotonic()
    (dead,) = await ledger.claim("payment", limit=10, lease_s=LEASE_S)
    done: list[tuple[int, bool]] = []

    async def do(effect: Effect) -> None:
        done.append((effect.attempts, time.monotonic() - claimed_at >= LEASE_S))

    async with doing(ledger, {"payment": do}):
        await until(ledger, {"done": ["payment.authorise"]})
    assert done == [(2, True)]
    # It was slow and not dead: what it says now counts for nothing.
    assert await ledger.failed(dead, "too late", pause_s=0) is None
    assert await states(ledger) == {"done": ["payment.authorise"]}


async def test_what_takes_longer_than_a_lease_is_nobody_elses_while_it_is_done(
    kontor: Kontor, ledger: EffectsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LEASE_S", 2.0)
    monkeypatch.setattr(running, "RENEW_EVERY_S", 0.2)
    await write(kontor, planned())
    attempts = []

    async def do(effect: Effect) -> None:
        attempts.append(effect.attempts)
        await asyncio.sleep(5)

    async with doing(ledger, {"payment": do}), doing(ledger, {"payment": do}):
        await until(ledger, {"done": ["payment.authorise"]})
    assert attempts == [1]


async def test_a_worker_that_cannot_hold_what_it_does_ends(
    kontor: Kontor, ledger: EffectsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no such column")

    async def for_ever(_: Effect) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(running, "RENEW_EVERY_S", 0.02)
    monkeypatch.setattr(ledger, "extend", broken)
    await write(kontor, planned())
    with pytest.raises(ValueError, match="no such column"):
        async with asyncio.timeout(WAIT_S):
            await Effects(ledger, "payment", for_ever, at_once=1).run()


async def test_what_a_worker_that_is_stopped_had_claimed_is_anybodys_at_once(
    kontor: Kontor, ledger: EffectsLedger
) -> None:
    quick, slow = uuid4(), uuid4()
    await write(kontor, planned(subject=quick), planned(subject=slow))
    begun = asyncio.Event()

    async def do(effect: Effect) -> None:
        if effect.subject_id == slow:
            begun.set()
            await asyncio.sleep(60)

    async with doing(ledger, {"payment": do}):
        await begun.wait()
    (again,) = await ledger.claim("payment", limit=9, lease_s=60)
    assert (again.subject_id, again.attempts) == (slow, 2)
    assert await states(ledger) == {"done": ["payment.authorise"], "waiting": ["payment.authorise"]}


async def test_a_claim_is_nobody_elses(kontor: Kontor, ledger: EffectsLedger) -> None:
    await write(kontor, *[planned(subject=uuid4()) for _ in range(100)])
    claims = await asyncio.gather(*[ledger.claim("payment", limit=20, lease_s=60) for _ in range(8)])
    ids = [effect.event_id for claim in claims for effect in claim]
    assert len(ids) == len(set(ids)) == 100


async def test_a_deadline_that_is_dropped_never_comes(kontor: Kontor, ledger: EffectsLedger) -> None:
    began = time.monotonic()
    ((now,),) = await kontor.reads.fetch("SELECT clock_timestamp()", [])  # type: ignore[arg-type]
    due = now + timedelta(seconds=DUE_S)
    paid, unpaid, at_once = uuid4(), uuid4(), uuid4()
    await write(kontor, *[planned("order.expire", each, due_at=due) for each in (paid, unpaid)])
    await write(kontor, planned("order.expire", at_once, due_at=due), Dropped("order.expire", at_once))
    await write(kontor, Dropped("order.expire", paid))
    came: list[tuple[UUID, bool]] = []

    async def do(effect: Effect) -> None:
        came.append((effect.subject_id, time.monotonic() - began >= DUE_S))

    async with doing(ledger, {"order": do}):
        await until(ledger, {"done": ["order.expire"]})
        await asyncio.sleep(0.3)
    assert came == [(unpaid, True)]


async def test_something_new_makes_what_waits_for_its_next_attempt_hurry(kontor: Kontor, ledger: EffectsLedger) -> None:
    await write(kontor, planned("payment.authorise"))
    (effect,) = await ledger.claim("payment", limit=1, lease_s=60)
    await ledger.failed(effect, "away", pause_s=3_600)
    assert await ledger.claim("payment", limit=1, lease_s=60) == []
    await write(kontor, planned("payment.return"))
    assert [each.effect for each in await ledger.claim("payment", limit=9, lease_s=60)] == ["payment.authorise"]


async def test_a_provider_that_is_away_is_left_alone_and_seen_again(kontor: Kontor, ledger: EffectsLedger) -> None:
    await write(kontor, *[planned(subject=uuid4()) for _ in range(40)], planned("mail.order_confirmed"))
    away, calls = True, 0

    async def pay(effect: Effect) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        if away:
            raise GatewayAway("connection refused")

    async def mail(effect: Effect) -> None:
        pass

    await ledger.note_breaker("mail", "open", "told by a worker that has died since")
    async with doing(ledger, {"payment": pay, "mail": mail}):
        async with asyncio.timeout(WAIT_S):
            while ("payment", "open", "connection refused") not in await ledger.breakers():
                await asyncio.sleep(0.02)
        at_opening = calls
        assert at_opening <= AT_ONCE + FAILURES_MAX
        await asyncio.sleep(OPEN_S_MIN * 0.7)
        assert calls <= at_opening + AT_ONCE  # those under way when it opened, and no more
        away = False
        await until(ledger, {"done": ["payment.authorise"] * 40 + ["mail.order_confirmed"]})
        async with asyncio.timeout(WAIT_S):
            while sorted(await ledger.breakers()) != [
                ("mail", "closed", ""),
                ("payment", "closed", "connection refused"),
            ]:
                await asyncio.sleep(0.02)


def test_a_half_open_breaker_lets_one_call_through() -> None:
    now = 100.0
    breaker = CircuitBreaker(lambda: now)
    for _ in range(FAILURES_MAX):
        assert (breaker.state, breaker.admits) == ("closed", True)
        breaker.begin()
        breaker.failed("away")
    assert (breaker.state, breaker.admits) == ("open", False)
    for doubled in (1, 2, 4):
        now += OPEN_S_MIN * doubled - 0.01
        assert breaker.state == "open"
        now += 0.02
        assert (breaker.state, breaker.admits) == ("half_open", True)
        breaker.begin()
        assert breaker.admits is False
        breaker.failed("still away")
    now += 1_000
    breaker.begin()
    breaker.succeeded()
    assert (breaker.state, breaker.admits) == ("closed", True)


async def test_a_trial_that_met_trouble_of_our_own_does_not_keep_the_provider_shut_out(
    kontor: Kontor, ledger: EffectsLedger
) -> None:
    await write(kontor, *[planned(subject=uuid4()) for _ in range(FAILURES_MAX)])
    errors: list[Exception] = [GatewayAway("refused") for _ in range(FAILURES_MAX)] + [OSError("our database")]

    async def pay(effect: Effect) -> None:
        if errors:
            raise errors.pop(0)

    async with doing(ledger, {"payment": pay}):
        await until(ledger, {"done": ["payment.authorise"] * FAILURES_MAX})


async def test_what_is_planned_during_a_look_is_done_without_waiting_for_the_next(
    kontor: Kontor, ledger: EffectsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LOOK_S", 60.0)
    claim, effects = ledger.claim, None
    looks = 0

    async def claims_as_something_is_planned(kind: str, **how: Any) -> list[Effect]:
        nonlocal looks
        found = await claim(kind, **how)
        looks += 1
        if looks == 1:
            await write(kontor, planned())
            assert effects is not None
            effects.wake()
        return found

    async def do(effect: Effect) -> None:
        pass

    monkeypatch.setattr(ledger, "claim", claims_as_something_is_planned)
    effects = Effects(ledger, "payment", do, at_once=AT_ONCE)
    task = asyncio.create_task(effects.run())
    await until(ledger, {"done": ["payment.authorise"]})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def grown_old(kontor: Kontor, *changes: Planned, state: str, by: timedelta) -> None:
    """What ended so long ago."""
    await write(kontor, *changes)
    ids = [change.event_id for change in changes]
    query = "UPDATE effects SET state = %s, ended_at = clock_timestamp() - %s WHERE event_id = ANY(%s)"
    async with kontor.pool.connection() as connection:
        await connection.execute(query, [state, by, ids])


async def test_what_was_done_long_ago_is_deleted_and_nothing_else(kontor: Kontor, ledger: EffectsLedger) -> None:
    minute = timedelta(minutes=1)
    await grown_old(kontor, planned("mail.order_shipped"), planned(), state="done", by=KEPT_FOR + minute)
    await grown_old(kontor, young := planned("payment.capture"), state="done", by=KEPT_FOR - minute)
    await grown_old(kontor, planned("payment.return"), state="given_up", by=KEPT_FOR * 12)
    await write(kontor, planned("order.expire"))
    standing = [each[:3] for each in await ledger.standing()]

    assert await ledger.delete_done(limit=1_000) == 2
    left = {"done": ["payment.capture"], "given_up": ["payment.return"], "waiting": ["order.expire"]}
    assert await states(ledger) == left
    assert await ledger.delete_done(limit=1_000) == 0
    assert [each[:3] for each in await ledger.standing()] == standing
    await write(kontor, young)
    assert await states(ledger) == left


async def test_what_is_old_is_deleted_in_batches_and_no_worker_waits_for_another(
    kontor: Kontor, ledger: EffectsLedger
) -> None:
    for each in (3, 1, 2):
        await grown_old(kontor, planned(f"payment.{each}"), state="done", by=KEPT_FOR + timedelta(days=each))
    assert await ledger.delete_done(limit=1) == 1
    assert await states(ledger) == {"done": ["payment.1", "payment.2"]}
    async with kontor.pool.connection() as other, other.transaction():
        await other.execute("SELECT FROM effects WHERE effect = 'payment.2' FOR UPDATE")
        async with asyncio.timeout(WAIT_S):
            assert await ledger.delete_done(limit=2) == 1
    assert await states(ledger) == {"done": ["payment.2"]}


async def test_batches_follow_each_other_while_there_is_more(
    kontor: Kontor, ledger: EffectsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "DELETED_AT_ONCE", 2)
    monkeypatch.setattr(running, "DELETE_PAUSE_S", 0.02)
    await grown_old(kontor, *[planned() for _ in range(5)], state="done", by=KEPT_FOR * 2)
    task = asyncio.create_task(running.delete_done(ledger))
    await until(ledger, {})
    # The last batch was not full: the next look is a minute away.
    await grown_old(kontor, planned(), state="done", by=KEPT_FOR * 2)
    await asyncio.sleep(0.2)
    assert await states(ledger) == {"done": ["payment.authorise"]}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_planning_is_undone_with_the_transaction(kontor: Kontor, ledger: EffectsLedger) -> None:
    class Died(Exception):
        pass

    async def dies() -> None:
        async with kontor.pool.connection() as connection, connection.transaction():
            await plan(connection, [planned()])
            raise Died

    with pytest.raises(Died):
        await dies()
    assert await states(ledger) == {}


async def test_what_an_event_plans_or_drops_counts_only_when_the_log_has_the_event(
    kontor: Kontor, ledger: EffectsLedger
) -> None:
    person, stranger = uuid4(), uuid4()
    await erased_in_the_log(kontor.store, person)
    known = Cause(person, 1, "user.erased")
    unknown = [Cause(stranger, 1, "user.erased"), Cause(person, 2, "user.erased"), Cause(person, 1, "user.registered")]
    await write(kontor, *(planned("mail.order_shipped", cause=cause) for cause in unknown))
    assert await states(ledger) == {}
    await write(kontor, planned("order.expire", cause=known), planned("mail.order_shipped", cause=known))
    for cause in unknown:
        await write(kontor, Dropped("order.expire", ORDER, cause))
    assert await states(ledger) == {"waiting": ["order.expire", "mail.order_shipped"]}
    await write(kontor, Dropped("order.expire", ORDER, known))
    assert await states(ledger) == {"waiting": ["mail.order_shipped"]}
