"""Requests that arrive when they arrive, whether or not the earlier ones were answered: an open loop.

Guarantees: the schedule is drawn before the run, and a latency is counted from the scheduled moment to the last byte of
the answer. So a server that stands still for a second owes that second to everybody who came meanwhile, and so does
this process where it is late itself. At most `in_flight_max` wait at once; who comes then is not sent, and has failed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, Protocol

from cli.bench.http_load import Client, Refused, connected
from cli.bench.timing import percentile_ms
from cli.stack.problem import Problem

TIMEOUT_S: Final = 10.0
IDLE_S_MAX: Final = 2.0  # the server closes a connection that is idle for 5, and may do so just as it is used again
IN_FLIGHT_MAX: Final = 256
NO_ROOM, TIMED_OUT, CLOSED = "IN_FLIGHT_MAX", "TIMED_OUT", "CONNECTION_CLOSED"

Row = dict[str, Any]


class Asked(Protocol):
    """One request, and how its answer is judged."""

    @property
    def kind(self) -> str:
        """What its figures are shown as."""

    @property
    def request(self) -> bytes:
        """As it goes over the wire."""

    def fault(self, body: bytes) -> str | None:
        """The code of what is wrong with a 200's body; None where it is as wanted."""


def dice_of(seed: int) -> random.Random:
    """What draws arrivals and questions: the same seed draws the same."""
    return random.Random(seed)  # noqa: S311  # nothing secret


def poisson(rate_per_s: float, seconds: float, dice: random.Random) -> list[float]:
    """When requests arrive, in seconds from the beginning: independent of each other, at this rate."""
    arrivals = []
    moment = dice.expovariate(rate_per_s)
    while moment < seconds:
        arrivals.append(moment)
        moment += dice.expovariate(rate_per_s)
    return arrivals


@dataclass(slots=True)
class Seen:
    """What became of the requests of one kind."""

    took_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Seen) -> Seen:
        self.took_s += other.took_s
        self.errors += other.errors
        return self

    def as_row(self, seconds: float) -> Row:
        """The object that is printed; latencies are of the answers that were right."""
        return {
            "requests": len(self.took_s) + self.errors.total(),
            "errors": self.errors.total(),
            "codes": dict(self.errors),
            "answers_per_s": round(len(self.took_s) / seconds, 2),
            **{f"p{share}_ms": percentile_ms(self.took_s, share / 100) for share in (50, 95, 99)},
        }


class OpenLoop:
    """One run against one server; `kinds` and `late_s` are its figures afterwards, of what came after the warm-up."""

    def __init__(self, port: int, *, in_flight_max: int = IN_FLIGHT_MAX, timeout_s: float = TIMEOUT_S) -> None:
        self.kinds: dict[str, Seen] = {}
        self.late_s: list[float] = []  # from the scheduled moment until it was handed to the system
        self._port, self._in_flight_max, self._timeout_s = port, in_flight_max, timeout_s
        self._idle: list[tuple[float, Client]] = []  # since when, the latest last
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, arrivals: Sequence[float], ask: Callable[[], Asked], *, warm_up_s: float) -> None:
        """Until the last is answered or has failed. What is asked is decided when it arrives."""
        begin = perf_counter()
        try:
            for arrival in arrivals:
                scheduled = begin + arrival
                await asyncio.sleep(max(0.0, scheduled - perf_counter()))
                asked, counts = ask(), arrival >= warm_up_s
                seen = self.kinds.setdefault(asked.kind, Seen()) if counts else Seen()
                if len(self._under_way) >= self._in_flight_max:
                    seen.errors[NO_ROOM] += 1
                    continue
                late_s = self.late_s if counts else []
                task = asyncio.create_task(self._one(asked, scheduled, seen, late_s))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.gather(*self._under_way)
        finally:
            for task in self._under_way:
                task.cancel()
            for _, client in self._idle:
                client.close()

    async def _one(self, asked: Asked, scheduled: float, seen: Seen, late_s: list[float]) -> None:
        client: Client | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                client = self._taken() or await connected(self._port)
                late_s.append(perf_counter() - scheduled)
                _, body = await client.answer(asked.request)
        except (Problem, OSError) as error:  # a TimeoutError is an OSError
            seen.errors[_code_of(error)] += 1
            if client is not None:
                client.close()
            return
        answered = perf_counter()
        self._idle.append((answered, client))
        if fault := asked.fault(body):
            seen.errors[fault] += 1
        else:
            seen.took_s.append(answered - scheduled)

    def _taken(self) -> Client | None:
        """The connection that was used last; None where none is fit for use."""
        if self._idle and perf_counter() - self._idle[-1][0] < IDLE_S_MAX:
            return self._idle.pop()[1]
        while self._idle:
            self._idle.pop()[1].close()
        return None


def _code_of(error: Exception) -> str:
    match error:
        case Refused(status=status):
            return f"HTTP {status}"
        case TimeoutError():
            return TIMED_OUT
        case _:
            return CLOSED
