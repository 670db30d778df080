"""A log of orders placed, reserved, confirmed, shipped and delivered, hundreds side by side, as shops write it.

Everything is as the event store writes it; the numbers differ, so that every view takes them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from uuid_utils import uuid7 as native_uuid7
from uuid_utils.compat import uuid7

from cli.bench.filling import CHUNK_EVENTS, COPY_EVENTS, RECORDED_AT, SEQUENCE, Row, rows_of
from domain.identity import OrderId, UserId, product_id, shard_of
from domain.money import Money
from domain.orders import Order, OrderLine

CONTEXT: Final = "orders"
SIDE_BY_SIDE: Final = 500
LINES: Final = 3
NUMBER: Final = "KNUMBER"  # stands for the order's own in the rows that all share


@dataclass(slots=True)
class _Order:
    id: str
    shard: int
    number: str
    written: int = 0


@dataclass(slots=True)
class OrderLog:
    """Writes orders into an empty, migrated log; nobody else writes meanwhile."""

    connection: psycopg.Connection[Any]
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311  # a shape, not a secret
    _made: int = 0

    def fill(self, events: int) -> dict[int, int]:
        """That many events; returns the last position of each shard."""
        rows, last, position = rows_of(_delivered()), {}, 0
        lines: list[str] = []
        for position, (order, row) in enumerate(self._steps(rows, events), 1):
            command = str(native_uuid7())
            lines.append(
                f"{order.id}\t{row.version}\t{row.topic}\t{row.state.replace(NUMBER, order.number)}\t{position}"
                f"\t{row.schema_version}\t{row.context}\t{order.shard}\t{command}\t{command}\tsystem:bench\t{RECORDED_AT}\n"
            )
            last[order.shard] = position
            if position % CHUNK_EVENTS == 0 or position == events:
                with self.connection.cursor() as cursor, cursor.copy(COPY_EVENTS) as copy:
                    copy.write("".join(lines))
                lines.clear()
        self.connection.execute(SEQUENCE, [position])
        self.connection.execute("VACUUM (ANALYZE) events")
        self.connection.execute("CHECKPOINT")
        return last

    def _steps(self, rows: list[Row], events: int) -> Iterator[tuple[_Order, Row]]:
        going = [self._new() for _ in range(SIDE_BY_SIDE)]
        for _ in range(events):
            place = self.chance.randrange(SIDE_BY_SIDE)
            order = going[place]
            yield order, rows[order.written]
            order.written += 1
            if order.written == len(rows):
                going[place] = self._new()

    def _new(self) -> _Order:
        self._made += 1
        order_id = uuid7()
        return _Order(str(order_id), shard_of(order_id), f"K{self._made}")


def _delivered() -> Order:
    now = datetime.now(UTC)
    lines = [
        OrderLine(product_id=product_id(sku), sku=sku, name=f"Cup {sku}", quantity=2, unit_price=Money(199, "GBP"))
        for sku in (f"BENCH-{number}" for number in range(LINES))
    ]
    order = Order.place(
        order_id=OrderId(uuid7()),
        number=NUMBER,
        customer_id=UserId(uuid4()),
        lines=lines,
        payment_method="invoice",
        placed_at=now,
        now=now,
    )
    order.reserve(now=now)
    order.confirm(payment_id=UUID(int=1), now=now)
    order.ship(carrier="Post", tracking_number="T1", now=now)
    order.deliver(now=now)
    return order
