"""Faust without a trip round the event loop for every record, and without a wait for partitions that have nothing.

Faust hands a record on with four tasks, and an agent yields to the loop before each: what every other callback of the
process takes, a few milliseconds under load, was waited for four times per record. Here a delivery that need not wait
is made at once, and an agent yields every YIELD_EVERY records.

One request at a time asks a broker for records, of the partitions that nothing is at hand of. What comes to any other
waits until it is answered, and Faust has it answered after 1.5 s where those partitions have nothing: in a burst, which
fills some and not others, everything stood still for so long.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Generator
from types import coroutine
from typing import Any, Final

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from mode.services import Service, WaitResults

from adapters.begun import rest_of

YIELD_EVERY: Final = 100
FETCH_WAIT_MS: Final = 50  # twenty requests a second where there is nothing to do


class Eager(Service):
    """A service that waits only for what has to be waited for."""

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:  # noqa: ASYNC109  # mode's name
        """See `mode.Service.wait_first`."""
        delivery, *others = coros
        if timeout is not None or not all(inspect.iscoroutine(each) for each in coros):
            return await super().wait_first(*coros, timeout=timeout)
        try:
            awaited = delivery.send(None)
        except BaseException as end:
            for other in others:
                other.close()
            if not isinstance(end, StopIteration):
                raise
            return WaitResults([delivery], [end.value], False)
        return await super().wait_first(_awaiting(rest_of(delivery, awaited)), *others)


class EagerConsumer(Eager, Consumer):
    """Faust's consumer: it hands a record on at once where the agent has room for it."""

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _ConsumerThread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for it, and aiokafka reads it when the consumer starts.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


async def events_of(stream: Any) -> AsyncIterator[Any]:
    """The events of a stream, for its agent."""
    events = aiter(stream.events())
    number = 0
    while True:
        try:
            event = await _without_yields(anext(events))
        except StopAsyncIteration:
            return
        yield event
        number += 1
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)


async def _awaiting(rest: Any) -> Any:
    return await rest


@coroutine
def _without_yields(begun: Any) -> Generator[Any, Any, Any]:
    """A coroutine that is not put off where it waits for nothing."""
    try:
        awaited = begun.send(None)
        while awaited is None:
            awaited = begun.send(None)
    except StopIteration as end:
        return end.value
    return (yield from rest_of(begun, awaited))
