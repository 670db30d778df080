"""`kontor import FILE --live`: a file of sales becomes products, stock, customers and live orders.

Everything goes through the command pipeline, like a frontend's. Every command has an idempotency key made of
the file's own numbers, so the import may be interrupted anywhere and started again: nothing doubles.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from uuid import UUID

from psycopg.sql import SQL

from adapters.away import AWAY
from adapters.consistency import Token
from adapters.group_commit import StoreUnavailable
from adapters.wiring import Kontor
from cli.sales_file import CURRENCY, REFUSED, Invoice, LeftOut, SalesFile
from commands.catalogue import AddProduct
from commands.handling import Actor, Outcome
from commands.inventory import ReceiveStock
from commands.orders import PlaceOrder, WantedLine
from commands.ports import Overloaded
from commands.users import RegisterUser
from domain.errors import AlreadyExists, Conflict, DomainError
from domain.identity import UserId
from domain.quantity import QUANTITY_MAX
from projections.orders import ORDERS

T = TypeVar("T")
ACTOR: Final = Actor.system("import")
COMMANDS_AT_ONCE: Final = 16
WALK_IN: Final = "walk-in"
VISIBLE_S_MAX: Final = 60.0
DECIDED_S_MAX: Final = 60.0  # without any progress
AWAY_S_MAX: Final = 60.0
AWAY_PAUSE_S: Final = 0.5

_STATUSES = SQL("SELECT status, count(*) FROM {} WHERE id = ANY(%s) GROUP BY status")


@dataclass(slots=True)
class Report:
    """What an import did. Delays are in seconds, from the commit of an order to its row in the view `orders`."""

    products: int = 0
    customers: int = 0
    orders: int = 0
    orders_new: int = 0
    lines: int = 0
    units: int = 0
    revenue_minor: int = 0
    placing_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    never_visible: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def orders_per_s(self) -> float:
        return self.orders_new / self.placing_s if self.placing_s else 0.0

    def delay_s(self, share: float) -> float | None:
        """The delay that this share of the new orders did not exceed."""
        ordered = sorted(self.delays_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


Advance = Callable[[str, int, int], None]  # what, done, of


async def import_sales(kontor: Kontor, sales: SalesFile, advance: Advance) -> Report:
    """Import the file and wait until the checkout has decided every order."""
    report = Report(left_out=list(sales.left_out))
    products = sales.products()
    await _each("products", products.items(), lambda item: _add_product(kontor, item[0], *item[1]), advance)
    report.products = len(products)
    units = sales.units_by_sku()
    await _each("stock", units.items(), lambda item: _receive(kontor, sales.digest, *item), advance)
    names = sorted({invoice.customer or WALK_IN for invoice in sales.invoices.values()})
    ids = await _each("customers", names, lambda name: _register(kontor, name), advance)
    report.customers = len(names)
    customers = dict(zip(names, ids, strict=True))
    started = time.perf_counter()
    watching: list[asyncio.Task[None]] = []
    placed = await _each(
        "orders",
        sales.invoices.values(),
        lambda invoice: _place(kontor, invoice, customers[invoice.customer or WALK_IN], report, watching),
        advance,
    )
    report.placing_s = time.perf_counter() - started
    await asyncio.gather(*watching)
    order_ids = [order_id for order_id in placed if order_id is not None]
    report.statuses = await _decided(kontor, order_ids, advance)
    return report


async def _add_product(kontor: Kontor, sku: str, name: str, price: Any) -> None:
    try:
        await _execute(kontor, AddProduct(sku=sku, name=name, price=price))
    except AlreadyExists:
        return  # from an earlier run, or already in the catalogue: lines keep the file's price anyway


async def _receive(kontor: Kontor, digest: str, sku: str, units: int) -> None:
    # One delivery is bounded; a file may need more of a SKU than that.
    for part, quantity in enumerate([QUANTITY_MAX] * (units // QUANTITY_MAX) + [units % QUANTITY_MAX]):
        if quantity:
            await _execute(
                kontor,
                ReceiveStock(sku=sku, quantity=quantity, reference=f"import {digest[:12]}"),
                f"import:stock:{digest}:{part}:{sku}",
            )


async def _register(kontor: Kontor, name: str) -> UUID:
    shown = "Walk-in customer" if name == WALK_IN else f"Customer {name}"
    outcome = await _execute(
        kontor,
        RegisterUser(email=f"customer-{name}@imported.invalid".replace(" ", "-"), name=shown, password=None),
        f"import:customer:{name}",
    )
    return outcome.aggregate_id


async def _place(
    kontor: Kontor, invoice: Invoice, customer_id: UUID, report: Report, watching: list[asyncio.Task[None]]
) -> UUID | None:
    request = PlaceOrder(
        lines=tuple(
            WantedLine(sku=line.sku, quantity=line.quantity, unit_price=line.unit_price) for line in invoice.lines
        ),
        currency=CURRENCY,
        payment_method="account",
        customer_id=UserId(customer_id),
        placed_at=invoice.placed_at,
    )
    try:
        outcome = await _execute(kontor, request, f"import:invoice:{invoice.number}")
    except DomainError as error:
        report.left_out += [LeftOut(line.line, invoice.number, REFUSED, error.message) for line in invoice.lines]
        return None
    if not outcome.replayed:
        report.orders_new += 1
        watching.append(asyncio.create_task(_watch(kontor, Token(outcome.heads), report)))
    report.orders += 1
    report.lines += len(invoice.lines)
    report.units += invoice.units
    report.revenue_minor += invoice.revenue_minor
    return outcome.aggregate_id


async def _watch(kontor: Kontor, token: Token, report: Report) -> None:
    committed = time.perf_counter()
    if await kontor.positions.wait(ORDERS, token, timeout_s=VISIBLE_S_MAX):
        report.delays_s.append(time.perf_counter() - committed)
    else:
        report.never_visible += 1


async def _decided(kontor: Kontor, order_ids: list[UUID], advance: Advance) -> dict[str, int]:
    """Wait until every order is decided, as long as there is progress; the orders by status."""
    best, since = -1, time.perf_counter()
    while True:
        try:
            statuses = dict(await kontor.reads.fetch(_STATUSES.format(kontor.reads.table(ORDERS)), [order_ids]))
        except AWAY:
            await asyncio.sleep(AWAY_PAUSE_S)
            continue
        done = sum(count for status, count in statuses.items() if status not in ("PENDING", "RESERVED"))
        advance("reserved", done, len(order_ids))
        if done > best:
            best, since = done, time.perf_counter()
        if done == len(order_ids) or time.perf_counter() - since > DECIDED_S_MAX:
            return statuses
        await asyncio.sleep(0.2)


async def _execute(kontor: Kontor, request: Any, key: str | None = None) -> Outcome:
    """Execute a command, again and again for AWAY_S_MAX while the database is away: what was stored is not
    stored again."""
    give_up_at = time.perf_counter() + AWAY_S_MAX
    while True:
        try:
            return await kontor.pipeline.execute(request, actor=ACTOR, idempotency_key=key)
        except (StoreUnavailable, Overloaded, Conflict, *AWAY):
            if time.perf_counter() > give_up_at:
                raise
            await asyncio.sleep(AWAY_PAUSE_S)


async def _each(what: str, items: Iterable[Any], execute: Callable[[Any], Awaitable[T]], advance: Advance) -> list[T]:
    """Do it for every item, COMMANDS_AT_ONCE at a time; results in the items' order."""
    items = list(items)
    gate = asyncio.Semaphore(COMMANDS_AT_ONCE)
    done = 0

    async def one(item: Any) -> T:
        nonlocal done
        async with gate:
            result = await execute(item)
        done += 1
        advance(what, done, len(items))
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
