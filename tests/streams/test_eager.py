"""Handing records on without a trip round the event loop, unless something has to be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer

from streams.eager import FETCH_WAIT_MS, Eager, EagerConsumer, events_of
from tests.conftest import Stack


async def turns_of(coroutine: Any) -> tuple[Any, int]:
    """Its result, and how often the loop came round meanwhile."""
    turns = 0

    async def counting() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(counting())
    await asyncio.sleep(0)
    turns = 0
    try:
        return await coroutine, turns
    finally:
        counter.cancel()


async def deliver(waits_for: asyncio.Future[str] | None = None) -> str:
    return "delivered" if waits_for is None else await waits_for


async def test_what_need_not_wait_is_done_at_once() -> None:
    never = asyncio.Event()
    result, turns = await turns_of(Eager().wait_first(deliver(), never.wait()))
    assert (result.results, result.stopped, turns) == (["delivered"], False, 0)


async def test_what_has_to_wait_is_waited_for() -> None:
    room: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(Eager().wait_first(deliver(room), asyncio.Event().wait()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    room.set_result("after a while")
    assert (await waiting).results == ["after a while"]


async def test_what_waits_is_given_up_when_the_other_comes_first() -> None:
    room: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    suspended = asyncio.Event()
    waiting = asyncio.create_task(Eager().wait_first(deliver(room), suspended.wait()))
    await asyncio.sleep(0.01)
    suspended.set()
    assert (await waiting).results == [True]
    await asyncio.sleep(0)
    assert room.cancelled()


@pytest.mark.parametrize("late", [False, True])
async def test_an_error_is_raised_at_once_or_later(late: bool) -> None:
    async def fails() -> None:
        if late:
            await asyncio.sleep(0.01)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Eager().wait_first(fails(), asyncio.Event().wait())


class Stream:
    """As Faust's: it yields to the loop before each event, and now and then waits for one."""

    def __init__(self, events: int, *, waits_before: int = -1) -> None:
        self._events = events
        self._waits_before = waits_before

    async def events(self) -> AsyncIterator[int]:
        for number in range(self._events):
            await asyncio.sleep(0)
            if number == self._waits_before:
                await asyncio.sleep(0.01)
            yield number


async def all_of(stream: Stream) -> list[int]:
    return [event async for event in events_of(stream)]


async def test_events_that_are_there_come_without_a_turn_of_the_loop_each() -> None:
    events, turns = await turns_of(all_of(Stream(1_000)))
    assert events == list(range(1_000))
    assert 0 < turns <= 11  # others have their turn, too


async def test_an_event_that_is_not_there_is_waited_for() -> None:
    events, turns = await turns_of(all_of(Stream(10, waits_before=5)))
    assert events == list(range(10))
    assert turns > 0


@pytest.mark.servers
async def test_partitions_that_have_nothing_do_not_keep_the_others_waiting(stack: Stack) -> None:
    app = faust.App("eager", broker=f"kafka://{stack.settings.kafka_url}", loop=asyncio.get_running_loop())

    async def unused(*_: Any) -> None: ...

    consumer: Any = EagerConsumer(
        app.transport, callback=unused, on_partitions_revoked=unused, on_partitions_assigned=unused
    )
    asking: AIOKafkaConsumer = consumer._new_consumer_thread()._create_worker_consumer(app.transport)
    await asking.start()
    try:
        # This is what it says in every request.
        assert asking._fetcher._fetch_max_wait_ms == FETCH_WAIT_MS
    finally:
        await asking.stop()
