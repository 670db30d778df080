"""Contestant `library`: the stock eventsourcing library, its Application on its own PostgreSQL recorder.

Clients are threads, the pool has as many connections, and everything else is as the library ships it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Final
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from cli.bench.timing import (
    EVENTS_PER_STREAM,
    ORDER_LINES,
    ORDER_RUNS,
    ORDER_RUNS_WARM_UP,
    WARM_UP_S,
    Measured,
    Task,
    percentile_ms,
    print_answer,
    require_c_implementation,
)

NOTE: Final = "x" * 150  # with the library's own JSON an event of 300 bytes
SETTINGS: Final = {"PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_MAX_OVERFLOW": "0",
                   "POSTGRES_MAX_WAITING": "1000", "POSTGRES_ENABLE_DB_FUNCTIONS": "n"}  # fmt: skip


class Basket(Aggregate):
    """As the library's tutorial writes aggregates."""

    @event("Created")
    def __init__(self, note: str) -> None:
        self.total, self.note = 0, note

    @event("LineAdded")
    def add(self, sku: str, quantity: int, note: str) -> None:  # noqa: ARG002  # its arguments are the event's
        """One line more."""
        self.total += quantity


class Shop(Application[UUID]):
    """Nothing but the library."""


def opened(connections: int) -> Shop:
    """The application on the database that PGHOST and the like name."""
    read = os.environ
    place = {"POSTGRES_DBNAME": read["PGDATABASE"], "POSTGRES_HOST": read["PGHOST"], "POSTGRES_PORT": read["PGPORT"],
             "POSTGRES_USER": read["PGUSER"], "POSTGRES_PASSWORD": read.get("PGPASSWORD", "")}  # fmt: skip
    return Shop(env=SETTINGS | place | {"POSTGRES_POOL_SIZE": str(connections)})


def basket_with(events: int) -> Basket:
    """An unsaved one with that many events."""
    basket = Basket(NOTE)
    for _ in range(events - 1):
        basket.add("sku-1", 1, NOTE)
    return basket


ThreadStep = Callable[[int], None]


def append_by(shop: Shop, _number: int) -> ThreadStep:
    """One event a save, a new stream every EVENTS_PER_STREAM."""
    basket = Basket(NOTE)

    def step(n: int) -> None:
        nonlocal basket
        if n % EVENTS_PER_STREAM == 0:
            basket = Basket(NOTE)
        else:
            basket.add("sku-1", 1, NOTE)
        shop.save(basket)

    return step


def decide_by(shop: Shop, number: int, task: Task, streams: list[UUID]) -> ThreadStep:
    """Load, decide, save one event."""

    def step(n: int) -> None:
        basket: Basket = shop.repository.get(streams[(number + n * task.clients) % len(streams)])
        basket.add("sku-1", basket.total % 7 + 1, NOTE)
        shop.save(basket)

    return step


def run_threads(task: Task, client_of: Callable[[int], ThreadStep]) -> Measured:
    """The same as `timing.run_clients`, with threads."""
    begin = perf_counter() + WARM_UP_S
    stop = begin + task.seconds
    latencies: list[float] = []
    errors = 0
    lock = Lock()

    def run(number: int) -> None:
        nonlocal errors
        step, n, mine, refused = client_of(number), 0, list[float](), 0
        while (started := perf_counter()) < stop:
            try:
                step(n)
            except Exception:  # whatever it refuses: a thread that ends early would flatter the rest
                refused += started >= begin
            else:
                if started >= begin:
                    mine.append(perf_counter() - started)
            n += 1
        with lock:
            latencies.extend(mine)
            errors += refused

    threads = [Thread(target=run, args=(number,)) for number in range(task.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Measured(latencies, perf_counter() - begin, errors)


def save_order(shop: Shop) -> dict[str, Any]:
    """An order and its lines' stock: 501 aggregates with one new event each, in one save."""
    baskets = [Basket(NOTE) for _ in range(ORDER_LINES + 1)]
    shop.save(*baskets)
    latencies = []
    for _ in range(ORDER_RUNS_WARM_UP + ORDER_RUNS):
        started = perf_counter()
        for basket in baskets:
            basket.add("sku-1", 1, NOTE)
        shop.save(*baskets)
        latencies.append(perf_counter() - started)
    counted = latencies[ORDER_RUNS_WARM_UP:]
    return {"p50_ms": round(median(counted) * 1000, 3), "p99_ms": percentile_ms(counted, 0.99), "runs": len(counted)}


def main() -> None:
    """Do the task, print the answer."""
    require_c_implementation()
    task = Task.given()
    shop = opened(task.clients)
    try:
        if task.mode == "order":
            print_answer(save_order(shop))
        elif task.mode == "decide":
            baskets = [basket_with(EVENTS_PER_STREAM) for _ in range(task.streams)]
            for basket in baskets:
                shop.save(basket)
            streams = [basket.id for basket in baskets]
            print_answer(run_threads(task, lambda number: decide_by(shop, number, task, streams)).as_row())
        else:
            print_answer(run_threads(task, lambda number: append_by(shop, number)).as_row())
    finally:
        shop.close()


if __name__ == "__main__":
    main()
