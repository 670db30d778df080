"""What every contestant of ours shares: the task it is given, the clock it is measured with, and its answer.

A contestant is a process of its own. It is told by the environment where the database is (PGHOST, PGPORT, PGUSER,
PGPASSWORD, PGDATABASE) and what to do (CLIENTS, SECONDS, MODE, SEED), and prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final
from urllib.parse import quote

import psycopg

WARM_UP_S: Final = 0.5  # not counted
EVENTS_PER_STREAM: Final = 20  # then a new stream
SEEDED_STREAMS: Final = 600  # for loading, deciding and appending
ORDER_LINES: Final = 500
ORDER_RUNS: Final = 20
ORDER_RUNS_WARM_UP: Final = 2
EVENT_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Task:
    """What one contestant is to do."""

    clients: int
    seconds: float
    mode: str
    streams: int

    @classmethod
    def given(cls) -> Task:
        """As the environment says."""
        read = os.environ.get
        return cls(
            int(read("CLIENTS", "32")),
            float(read("SECONDS", "3")),
            read("MODE", "append"),
            int(read("SEED", str(SEEDED_STREAMS))),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """Latencies of what was acknowledged after the warm-up, the time that took, and how often it was refused."""

    latencies_s: Sequence[float]
    elapsed_s: float
    errors: int = 0

    def as_row(self) -> dict[str, Any]:
        """The object that is printed; where nothing was done, 0 a second and no latencies."""
        return {
            "commits_per_s": round(len(self.latencies_s) / self.elapsed_s) if self.elapsed_s else 0,
            "p50_ms": percentile_ms(self.latencies_s, 0.50),
            "p99_ms": percentile_ms(self.latencies_s, 0.99),
            "commits": len(self.latencies_s),
            "errors": self.errors,
        }


def percentile_ms(latencies_s: Sequence[float], share: float) -> float | None:
    """The latency that `share` of them do not pass, in ms; None when there is none."""
    if not latencies_s:
        return None
    ordered = sorted(latencies_s)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)


Step = Callable[[int], Awaitable[object]]


async def run_clients(
    task: Task, client_of: Callable[[int], Step], *, refusals: tuple[type[Exception], ...] = ()
) -> Measured:
    """Run `task.clients` coroutines, each repeating its step without a pause; refusals are counted, not raised."""
    begin = perf_counter() + WARM_UP_S
    stop = begin + task.seconds
    latencies: list[float] = []
    errors = 0

    async def run(number: int) -> None:
        nonlocal errors
        step, n = client_of(number), 0
        while (started := perf_counter()) < stop:
            try:
                await step(n)
            except refusals:
                errors += started >= begin
            else:
                if started >= begin:
                    latencies.append(perf_counter() - started)
            n += 1

    await asyncio.gather(*(run(number) for number in range(task.clients)))
    return Measured(latencies, perf_counter() - begin, errors)


def require_c_implementation() -> None:
    """Raises RuntimeError when psycopg runs in pure Python: that would measure another program."""
    if psycopg.pq.__impl__ == "python":
        raise RuntimeError("psycopg runs without its C implementation: install psycopg[binary]")


def database_url() -> str:
    """The URL of the database that this process's PGHOST and the like name."""
    return url_of(os.environ)


def url_of(place: Mapping[str, str]) -> str:
    """The URL of the database that PG* variables name."""
    user, password, host = (quote(place.get(name, ""), safe="") for name in ("PGUSER", "PGPASSWORD", "PGHOST"))
    return f"postgresql://{user}:{password}@{host}:{place['PGPORT']}/{place['PGDATABASE']}"


def print_answer(row: dict[str, Any]) -> None:
    """One JSON object, on one line."""
    print(json.dumps(row), flush=True)
