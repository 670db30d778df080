"""What can be followed: an order, stock, the log. Each item carries the cursor from which its follower goes on.

Changes come from the log itself, as soon as they are stored; no relay or worker is in between. An item comes for each
event, once and in the log's order, and shows the state the log has when the item is made: that of its cursor or newer.
What is shown of other aggregates (a payment, a customer) comes from their views, as in queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import strawberry
from psycopg.sql import SQL

from adapters.away import AWAY, pause
from adapters.fan_out import TooSlow
from adapters.log import Interest, LogRecord
from adapters.metrics import SUBSCRIPTIONS, SUBSCRIPTIONS_TOO_SLOW
from api.graphql.context import Info, RequestContext, parsed_id
from api.graphql.errors import Resync
from api.graphql.events import Event, parsed_position, types_for
from api.graphql.inventory import StockItem
from api.graphql.item_meter import ItemMeter
from api.graphql.orders import Order
from api.graphql.resolvers import DOOR
from api.graphql.scalars import Cursor
from api.graphql.visibility import published_skus, seen_stock_of_page
from commands.doors import Door
from commands.handling import Actor, log_reader, signed_in
from domain import inventory as stock_domain
from domain import orders as orders_domain
from domain.errors import Invalid, NotFound
from domain.identity import stock_item_id
from projections.inventory import STOCK

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

FOLLOWED: Final = Door(follows=True)
FOLLOWED_SKUS_MAX: Final = 100
FOLLOWED_TYPES_MAX: Final = 100
PAGE_ROWS: Final = 500
AWAY_S_MAX: Final = (
    60.0  # a restart of the database is waited for; a client that is told anything sooner only comes back
)
RETRY_PAUSE_S: Final = 0.5
# The position before the first event that a view has not applied, or the log's end; a look into an index per shard.
_APPLIED: Final = SQL(
    "SELECT coalesce(min(next.position) - 1, (SELECT coalesce(max(notification_id), 0) FROM events))"
    " FROM view_positions p CROSS JOIN LATERAL (SELECT e.notification_id AS position FROM events e"
    "  WHERE (e.context, e.shard) = (p.context, p.shard) AND e.notification_id > p.position"
    "  ORDER BY e.context, e.shard, e.notification_id LIMIT 1) next WHERE p.view = %s"
)


def subscription(description: str, *, door: Door) -> Callable[[F], F]:
    """A field that is followed; its docstring is for maintainers, the description for clients."""
    return cast("Callable[[F], F]", strawberry.subscription(description=description, metadata={DOOR: door}))


@strawberry.type(description="Something happened to an order.")
class OrderChange:
    cursor: Cursor = strawberry.field(description="Pass it as `since` to go on after this.")
    order: Order = strawberry.field(description="The order as it was then, or newer.")


@strawberry.type(description="Something happened to the stock of a SKU.")
class StockChange:
    cursor: Cursor = strawberry.field(description="Pass it as `since` to go on after this.")
    stock_item: StockItem = strawberry.field(description="The stock as it was then, or newer.")


@strawberry.type(description="What can be followed, over WebSocket with graphql-transport-ws.")
class Subscription:
    @subscription(
        "An order, for its customer and STAFF: its present state first, or with `since` what came after it.",
        door=FOLLOWED,
    )
    async def order_changed(
        self, info: Info, order_id: strawberry.ID, since: Cursor | None = None
    ) -> AsyncGenerator[OrderChange, None]:
        """Raises NotFound for a missing order and for somebody else's, Unauthenticated, Invalid for a bad cursor."""
        context = info.context
        with context.kontor.ports.security.watched("orderChanged", context.actor):
            signed_in(context.actor)
        found = parsed_id(order_id)
        order, position = await _order(context, found) if found else (None, 0)
        if found is None or order is None or not context.may_see_of(order.customer_id):
            raise NotFound(f"There is no order {order_id[:40]} of yours.")
        if since is None:
            yield OrderChange(cursor=_cursor(position), order=Order.of_aggregate(order))
        else:
            position = await _position(context, since)
        meter = ItemMeter.of(info)
        changes = _followed(context, "orderChanged", position, Interest(aggregate_ids=frozenset({found})))
        async with aclosing(changes):
            async for record in changes:
                changed, _ = await _order(context, found)
                assert changed is not None  # the log forgets nothing
                context.renew()
                await meter.pay()
                yield OrderChange(cursor=_cursor(record.position), order=Order.of_aggregate(changed))

    @subscription(
        "The stock of these SKUs, or of all: its present state first, or with `since` what came after it. Whose "
        "connection ends before all of the present state is there asks for it again.",
        door=FOLLOWED,
    )
    async def stock_changed(
        self, info: Info, skus: list[str] | None = None, since: Cursor | None = None
    ) -> AsyncGenerator[StockChange, None]:
        """Raises Invalid for more than FOLLOWED_SKUS_MAX SKUs or none, and for a bad cursor."""
        context = info.context
        ids = None if skus is None else _stock_ids(skus)
        interest = Interest(aggregate_ids=ids, context="inventory")
        shown: dict[UUID, int] = {}
        meter = ItemMeter.of(info)
        if since is None:
            position = await context.kontor.log.end() if ids else await _stock_view_position(context)
            async for item, at in _present_stock(context, ids):
                if at > position:
                    shown[UUID(item.id)] = at
                await meter.pay()
                yield StockChange(cursor=_cursor(position), stock_item=item)
        else:
            position = await _position(context, since)
        changes = _followed(context, "stockChanged", position, interest)
        async with aclosing(changes):
            async for record in changes:
                if record.position > shown.get(record.aggregate_id, 0):
                    await meter.pay()
                    for changed, _ in await _stock_items(context, [record.aggregate_id]):
                        yield StockChange(cursor=_cursor(record.position), stock_item=changed)

    @subscription("The log, from now on or after `since`; for STAFF, ANALYST and INTEGRATOR.", door=FOLLOWED)
    async def events(
        self,
        info: Info,
        types: list[str] | None = None,
        aggregate_id: strawberry.ID | None = None,
        since: Cursor | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Raises Unauthenticated, Forbidden, or Invalid for types and ids there cannot be, and for a bad cursor."""
        context = info.context
        with context.kontor.ports.security.watched("events", context.actor):
            log_reader(context.actor)
            interest = _interest(context.actor, types, aggregate_id)
        position = await context.kontor.log.end() if since is None else await _position(context, since)
        meter = ItemMeter.of(info)
        await meter.pay_for_reading(await _patiently(context.kontor.log.end) - position)
        changes = _followed(context, "events", position, interest)
        async with aclosing(changes):
            async for record in changes:
                await meter.pay()
                yield Event.of(record, context.actor)


async def _followed(
    context: RequestContext, field: str, position: int, interest: Interest
) -> AsyncGenerator[LogRecord, None]:
    """See `LogTail.after`; a database that is away is waited for. Raises Resync, or one of AWAY after AWAY_S_MAX."""
    loop = asyncio.get_running_loop()
    away_since: float | None = None
    with SUBSCRIPTIONS.labels(field).track_inprogress():
        while True:
            try:
                async with aclosing(context.kontor.tail.after(position, interest)) as records:
                    async for record in records:
                        position, away_since = record.position, None
                        yield record
            except TooSlow:
                SUBSCRIPTIONS_TOO_SLOW.labels(field).inc()
                raise Resync(_cursor(position)) from None
            except (*AWAY, TimeoutError):
                away_since = loop.time() if away_since is None else away_since
                if loop.time() - away_since > AWAY_S_MAX:
                    raise
                await pause(RETRY_PAUSE_S)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a database that may be away for a while. Raises one of AWAY after AWAY_S_MAX."""
    give_up_at = asyncio.get_running_loop().time() + AWAY_S_MAX
    while True:
        try:
            return await ask()
        except AWAY:
            if asyncio.get_running_loop().time() > give_up_at:
                raise
        await pause(RETRY_PAUSE_S)


async def _order(context: RequestContext, order_id: UUID) -> tuple[orders_domain.Order | None, int]:
    """The order as the log has it, and the position of its last event."""
    loaded = await _patiently(lambda: context.kontor.store.load([order_id]))
    if order_id not in loaded or not isinstance(order := loaded[order_id][0], orders_domain.Order):
        return None, 0
    return order, loaded[order_id][1].position


async def _stock_items(context: RequestContext, ids: Iterable[UUID]) -> list[tuple[StockItem, int]]:
    """Those that exist and whose products the actor may see, as the log has them, each with the position of its last
    event."""
    loaded = await _patiently(lambda: context.kontor.store.load(list(ids)))
    found = [(item, head) for item, head in loaded.values() if isinstance(item, stock_domain.StockItem)]
    shown = await _patiently(lambda: published_skus(context, [item.sku for item, _ in found]))
    return [(StockItem.of_aggregate(item), head.position) for item, head in found if item.sku in shown]


async def _present_stock(context: RequestContext, ids: frozenset[UUID] | None) -> AsyncIterator[tuple[StockItem, int]]:
    """The stock of these from the log; of all from their view, a page at a time."""
    if ids is not None:
        for each in await _stock_items(context, sorted(ids)):
            yield each
        return
    after = UUID(int=0)
    while rows := await context.kontor.reads.where(STOCK, SQL("id > %s ORDER BY id LIMIT %s"), [after, PAGE_ROWS]):
        for row in await seen_stock_of_page(context, rows):
            yield StockItem.of(row), row.position
        after = rows[-1].id


async def _stock_view_position(context: RequestContext) -> int:
    """Everything in the log up to there is in the view of stock."""
    reads = context.kontor.reads
    ((position,),) = await reads.fetch(_APPLIED, [reads.generations.live(STOCK).table])
    return int(position)


def _stock_ids(skus: list[str]) -> frozenset[UUID]:
    if not 1 <= len(skus) <= FOLLOWED_SKUS_MAX:
        raise Invalid(f"{len(skus)} SKUs are named; follow 1 to {FOLLOWED_SKUS_MAX}, or all by leaving skus out.")
    return frozenset(stock_item_id(sku.strip()) for sku in skus)


def _interest(actor: Actor, types: list[str] | None, aggregate_id: str | None) -> Interest:
    if types is not None and not 1 <= len(types) <= FOLLOWED_TYPES_MAX:
        raise Invalid(f"{len(types)} types are named; follow 1 to {FOLLOWED_TYPES_MAX}, or all by leaving types out.")
    found = parsed_id(aggregate_id)
    if aggregate_id is not None and found is None:
        raise Invalid(f"aggregateId is {aggregate_id[:40]!r}; give a UUID.")
    return Interest(
        aggregate_ids=None if found is None else frozenset({found}),
        event_types=types_for(actor, types),
    )


def _cursor(position: int) -> Cursor:
    return Cursor(str(position))


async def _position(context: RequestContext, since: str) -> int:
    """Raises Invalid for what is no cursor of this log: from past its end, events would be passed over."""
    position = parsed_position(since, field="since")
    if position > await _patiently(context.kontor.log.end):
        raise Invalid(f"since is {since[:40]!r}, which is no cursor of this log; pass on a cursor as it is.")
    return position
