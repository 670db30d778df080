"""The checkout from PLACED to CONFIRMED: orders a second and how long each took, spread over SKUs and all on one.

Beside it a plain checkout in SQL (`cli.bench.sql_checkout`): `SELECT ... FOR UPDATE` of the stock, an order, the same
payment at the same provider, and the order confirmed. Both on the same server, one after the other, by as many buyers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import uvloop
from psycopg.sql import SQL

from adapters.wiring import Kontor, open_kontor
from cli.bench.contest import Failed, answer_of, execute
from cli.bench.installed import Installation
from cli.bench.machine import wait_for_quiet
from cli.bench.report import goal_lines, machine_lines, ratio, shown
from cli.bench.timing import percentile_ms
from cli.stack.home import PROJECT_ROOT
from cli.stack.problem import Problem
from commands.catalogue import AddProduct
from commands.handling import Actor
from commands.inventory import ReceiveStock
from commands.orders import PlaceOrder, WantedLine
from commands.users import RegisterUser
from domain.money import Money
from domain.users import Role

ACTOR: Final = Actor.system("bench")
PRICE: Final = Money(255, "GBP")
METHOD: Final = "pm_card_visa"
BUYERS: Final = 32
UNITS: Final = 1_000_000
RUN_S_MAX: Final = 600.0
LOOK_S: Final = 0.25
GOAL_ORDERS_PER_S: Final = 300
GOAL_TIMES_SQL: Final = 2

_PLACED_AND_CONFIRMED: Final = SQL(
    "SELECT extract(epoch FROM p.recorded_at)::float8, extract(epoch FROM c.recorded_at)::float8"
    " FROM events p JOIN events c ON c.originator_id = p.originator_id AND c.topic = 'order.confirmed'"
    " WHERE p.topic = 'order.placed' AND p.notification_id > %s"
)
_DECIDED: Final = SQL(
    "SELECT count(*) FROM events WHERE notification_id > %s AND topic IN ('order.confirmed', 'order.rejected')"
)
_LAST: Final = SQL("SELECT coalesce(max(notification_id), 0) FROM events")

Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutBench:
    """How every run is made."""

    installation: Installation
    orders: int
    skus: int
    rounds: int
    idle_wait_s: float
    say: Say

    def measure(self) -> list[Row]:
        """A row for each run: ours and plain SQL, spread and on one SKU, in turn."""
        rows: list[Row] = []
        for number in range(1, self.rounds + 1):
            for spread, skus in (("spread", self.skus), ("one SKU", 1)):
                for name, run in (("kontor", self._ours), ("sql", self._sql)):
                    wait_for_quiet(self.installation.home, self.idle_wait_s)
                    row = {"name": name, "skus": spread, "round": number, **run(skus)}
                    rows.append(row)
                    self.say(f"{spread:<8} {name:<7} {row['orders_per_s']:>7,.0f} orders/s")
        return rows

    def _ours(self, skus: int) -> Row:
        return uvloop.run(_checked_out(self.installation, self.orders, skus))

    def _sql(self, skus: int) -> Row:
        asked = {"ORDERS": str(self.orders), "SKUS": str(skus), "BUYERS": str(BUYERS)}
        argv = (sys.executable, "-m", "cli.bench.sql_checkout")
        with self.installation.another() as place:
            try:
                said = execute(argv, PROJECT_ROOT, place.environment | asked, RUN_S_MAX)
                return dict(answer_of(said, "orders_per_s"))
            except Failed as error:
                raise Problem(f"The contestant sql failed: {error}") from error


async def _checked_out(installation: Installation, orders: int, skus: int) -> Row:
    async with open_kontor(installation.settings, name="bench") as kontor:
        names, buyer = await _prepared(kontor, skus)
        ((before,),) = await kontor.reads.fetch(_LAST, [])
        numbers: Iterator[int] = iter(range(orders))

        async def buys() -> None:
            for number in numbers:
                line = WantedLine(sku=names[number % skus], quantity=1)
                command = PlaceOrder(lines=(line,), currency=PRICE.currency, payment_method=METHOD)
                await kontor.pipeline.execute(command, actor=buyer)

        began = perf_counter()
        await asyncio.gather(*(buys() for _ in range(BUYERS)))
        while (await kontor.reads.fetch(_DECIDED, [before]))[0][0] < orders:
            if perf_counter() - began > RUN_S_MAX:
                raise Problem(f"{orders} orders were not decided after {RUN_S_MAX:.0f} s: see `kontor orders stuck`.")
            await asyncio.sleep(LOOK_S)
        return figures(await kontor.reads.fetch(_PLACED_AND_CONFIRMED, [before]), orders)


def figures(moments: Sequence[tuple[float, float]], orders: int) -> Row:
    """Of when each order was placed and when confirmed, in seconds. Raises Problem when not all were confirmed."""
    if len(moments) != orders:
        raise Problem(f"{orders - len(moments)} of {orders} orders were rejected: see `kontor orders stuck`.")
    took_s = [confirmed - placed for placed, confirmed in moments]
    whole_s = max(confirmed for _, confirmed in moments) - min(placed for placed, _ in moments)
    return {
        "orders_per_s": orders / whole_s,
        "p50_ms": percentile_ms(took_s, 0.5),
        "p99_ms": percentile_ms(took_s, 0.99),
    }


async def _prepared(kontor: Kontor, skus: int) -> tuple[list[str], Actor]:
    names = [f"CHECKOUT-{uuid4().hex[:10]}" for _ in range(skus)]
    for sku in names:
        await kontor.pipeline.execute(AddProduct(sku=sku, name="Cup", price=PRICE), actor=ACTOR)
        await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=UNITS), actor=ACTOR)
    command = RegisterUser(email=f"{uuid4().hex}@bench.example", name="Buyer", password=None)
    made = await kontor.pipeline.execute(command, actor=ACTOR)
    return names, Actor.user(made.aggregate_id, [Role.CUSTOMER])


def judged(rows: Sequence[Row]) -> list[Row]:
    """The goals, with what was seen: of rates the median of the rounds."""
    seen = {key: median(values) for key, values in _rates(rows).items()}
    spread, hot, sql = (seen.get(key) for key in (("spread", "kontor"), ("one SKU", "kontor"), ("one SKU", "sql")))
    times = ratio(hot, sql)
    return [
        {
            "name": "orders/s, spread", "wanted": f"at least {GOAL_ORDERS_PER_S}", "seen": spread,
            "met": None if spread is None else spread >= GOAL_ORDERS_PER_S,
        },
        {
            "name": "one SKU: times plain SQL", "wanted": f"at least {GOAL_TIMES_SQL}", "seen": times,
            "met": None if times is None else times >= GOAL_TIMES_SQL,
        },
    ]  # fmt: skip


def _rates(rows: Sequence[Row]) -> dict[tuple[str, str], list[float]]:
    rates: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        rates.setdefault((row["skus"], row["name"]), []).append(row["orders_per_s"])
    return rates


def document_as_text(document: Mapping[str, Any]) -> str:
    """All of it for a person."""
    lines = [
        f"{row['skus']:<8} {row['name']:<7} round {row['round']} {row['orders_per_s']:>8,.0f} orders/s"
        f"   to CONFIRMED p50 {shown(row['p50_ms'])} ms, p99 {shown(row['p99_ms'])} ms"
        for row in document["rows"]
    ]
    return "\n".join([*lines, "", *goal_lines(document["goals"]), "", *machine_lines(document["machine"])])
