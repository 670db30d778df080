"""What is new is handed to many at once, and none of them can hold up the others or fill the memory."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from adapters.fan_out import WOKEN_AT_ONCE, FanOut, Subscriber, TooSlow
from adapters.log import Interest, LogRecord
from tests.given import NOW

ONE, OTHER = UUID(int=1), UUID(int=2)
ALL = Interest()


def record(position: int, aggregate_id: UUID = ONE, event_type: str = "order.placed") -> LogRecord:
    nobody = UUID(int=0)
    return LogRecord(
        position, event_type, 1, aggregate_id, position, NOW, "user:x", nobody, nobody, None, "orders", 0, b"{}"
    )


async def taken(subscriber: Subscriber) -> list[int]:
    """The positions of everything that is queued."""
    return [(await subscriber.next()).position for _ in range(subscriber.queued)]


async def test_each_gets_what_it_wants_once_and_in_order() -> None:
    fan_out = FanOut()
    everything = fan_out.add(ALL)
    of_one = fan_out.add(Interest(aggregate_ids=frozenset({ONE})))
    cancelled = fan_out.add(Interest(event_types=frozenset({"order.cancelled"})))
    of_both = fan_out.add(Interest(aggregate_ids=frozenset({ONE, OTHER}), context="orders"))
    elsewhere = fan_out.add(Interest(context="inventory"))
    await fan_out.publish([record(3), record(5, OTHER), record(6, OTHER, "order.cancelled")])
    await fan_out.publish([record(6, OTHER, "order.cancelled"), record(9)])
    assert await taken(everything) == [3, 5, 6, 9]
    assert await taken(of_one) == [3, 9]
    assert await taken(cancelled) == [6]
    assert await taken(of_both) == [3, 5, 6, 9]
    assert await taken(elsewhere) == []


async def test_who_comes_later_begins_after_what_was_handed_out() -> None:
    fan_out = FanOut()
    first = fan_out.add(ALL)
    await fan_out.publish([record(1), record(2)])
    second = fan_out.add(ALL)
    await fan_out.publish([record(4)])
    assert (second.since, await taken(second), await taken(first)) == (2, [4], [1, 2, 4])


async def test_who_comes_while_something_is_handed_out_misses_nothing_after_its_beginning() -> None:
    fan_out = FanOut()
    for _ in range(WOKEN_AT_ONCE):
        fan_out.add(ALL)
    publishing = asyncio.create_task(fan_out.publish([record(position) for position in range(1, 6)]))
    await asyncio.sleep(0)
    late = fan_out.add(ALL)
    await publishing
    assert 0 < late.since < 5
    assert await taken(late) == list(range(late.since + 1, 6))


async def test_one_that_is_too_slow_is_ended_and_its_queue_freed_and_the_others_go_on() -> None:
    fan_out = FanOut(records_max=3)
    slow, quick = fan_out.add(ALL), fan_out.add(ALL)
    for position in (1, 2, 3):
        await fan_out.publish([record(position)])
        await quick.next()
    assert (await slow.next()).position == 1
    await fan_out.publish([record(4)])
    assert slow.queued == 3  # as many as fit
    await fan_out.publish([record(5), record(6)])
    assert slow.queued == 0
    for _ in range(2):
        with pytest.raises(TooSlow):
            await slow.next()
    assert await taken(quick) == [4, 5, 6]


async def test_one_that_waits_is_told_that_it_was_too_slow() -> None:
    fan_out = FanOut(records_max=0)
    waiting = asyncio.create_task(fan_out.add(ALL).next())
    await asyncio.sleep(0)
    await fan_out.publish([record(1)])
    with pytest.raises(TooSlow):
        await asyncio.wait_for(waiting, 5)


async def test_one_that_left_gets_nothing_and_leaves_nothing() -> None:
    fan_out = FanOut()
    left = [fan_out.add(Interest(aggregate_ids=frozenset({ONE, OTHER}))), fan_out.add(ALL)]
    for subscriber in left:
        fan_out.remove(subscriber)
    await fan_out.publish([record(1)])
    assert [subscriber.queued for subscriber in left] == [0, 0]
    assert (len(fan_out), fan_out._by_aggregate, fan_out._of_many) == (0, {}, set())
