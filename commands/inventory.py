"""Stock: receive and count it; hold it for an order, all lines or none; give it back or send it off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from eventsourcing.domain import Aggregate

from commands.handling import Result, Work, require_version
from commands.orders import required_order
from commands.payments import begin_payment
from domain.catalogue import Product, valid_sku
from domain.disclosure import Plain
from domain.errors import IllegalTransition, NotFound
from domain.identity import OrderId, event_id, product_id, stock_item_id
from domain.inventory import HOLD_S_MAX, StockItem
from domain.orders import Order, OrderStatus

REASON_ITEMS_MAX: Final = 5
# What follows from an event is done only where the order itself says that the event happened: an event that was not
# read from the log proves nothing.
GIVEN_UP: Final = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED})
SENT_OFF: Final = frozenset({OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.REFUNDED})
# What such an order holds is given back in time; every later one has been promised its units.
UNCONFIRMED: Final = frozenset({OrderStatus.PENDING, OrderStatus.RESERVED, OrderStatus.REJECTED, OrderStatus.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveStock:
    """Take units in. `reference` None is stored as the empty one."""

    sku: Plain
    quantity: int
    reference: Plain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustStock:
    """Set the number of units to what was counted."""

    sku: Plain
    on_hand: int
    reason: Plain
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveOrders:
    """Hold every line of each order, or reject the order; one after the other."""

    order_ids: tuple[OrderId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrder:
    """Give back everything an order holds."""

    order_id: OrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOrder:
    """Everything an order holds has left the house."""

    order_id: OrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireHolds:
    """Give back what an order holds for longer than it may without being confirmed."""

    order_id: OrderId


async def receive_stock(command: ReceiveStock, work: Work) -> Result:
    """Raises NotFound for a SKU without product, Invalid for a quantity outside its bounds."""
    sku = valid_sku(command.sku)
    item = await work.load(StockItem, stock_item_id(sku))
    if item is None:
        if await work.load(Product, product_id(sku)) is None:
            raise NotFound(f"There is no product with the SKU {sku}; add it first.", field=("sku",))
        item = work.add(StockItem.open(sku=sku, now=work.now))
    item.receive(quantity=command.quantity, reference=command.reference, now=work.now)
    return Result(item)


async def adjust_stock(command: AdjustStock, work: Work) -> Result:
    """Raises NotFound for a SKU without stock, Conflict for another version, StockInsufficient below what is held,
    Invalid; nothing happens when the number is right already."""
    sku = valid_sku(command.sku)
    item = await work.load(StockItem, stock_item_id(sku))
    if item is None:
        raise NotFound(f"There is no stock of the SKU {sku}; receive some first.", field=("sku",))
    require_version(item, command.expected_version)
    item.adjust(on_hand=command.on_hand, reason=command.reason, now=work.now)
    return Result(item)


async def reserve_orders(command: ReserveOrders, work: Work) -> Result:
    """Of each order every line is held, it is RESERVED and its payment begun, or nothing is held and it is REJECTED:
    one save, so no crash and no rival leaves half of it. Many orders that want the same units are one save, too.

    Nothing happens to an order that is no longer PENDING. Raises NotFound when there is none of them."""
    found = await work.load_many(Order, command.order_ids)
    orders = [found[order_id] for order_id in dict.fromkeys(command.order_ids) if order_id in found]
    if not orders:
        raise NotFound(f"There is none of these {len(command.order_ids)} orders.", field=("orderIds",))
    pending = [order for order in orders if order.status is OrderStatus.PENDING]
    skus = dict.fromkeys(sku for order in pending for sku in order.quantities())
    items = await work.load_many(StockItem, [stock_item_id(sku) for sku in skus])
    for order in pending:
        _reserve(order, items, work)
    return Result(orders[0])


def _reserve(order: Order, items: Mapping[UUID, StockItem], work: Work) -> None:
    order_id, wanted = OrderId(order.id), order.quantities()
    decided: list[Aggregate] = [order, *(items[item_id] for sku in wanted if (item_id := stock_item_id(sku)) in items)]
    lacking = []
    for sku, quantity in wanted.items():
        item = items.get(stock_item_id(sku))
        if item is None or not item.can_reserve(order_id=order_id, quantity=quantity):
            lacking.append(f"{sku} (wanted {quantity}, available {item.available if item else 0})")
            if item is not None:
                item.refuse(order_id=order_id, quantity=quantity, now=work.now)
    if lacking:
        more = f" and {len(lacking) - REASON_ITEMS_MAX} more" if len(lacking) > REASON_ITEMS_MAX else ""
        order.reject(reason=f"not enough stock: {', '.join(lacking[:REASON_ITEMS_MAX])}{more}", now=work.now)
    else:
        expires_at = work.now + timedelta(seconds=HOLD_S_MAX)
        for sku, quantity in wanted.items():
            items[stock_item_id(sku)].reserve(order_id=order_id, quantity=quantity, expires_at=expires_at, now=work.now)
        order.reserve(now=work.now)
        decided += begin_payment(order, work)
    work.caused(event_id(order.id, 1), *decided)


async def release_order(command: ReleaseOrder, work: Work) -> Result:
    """Give back what the order holds; nothing happens where it holds nothing. Raises IllegalTransition unless it is
    CANCELLED or REJECTED: its units are promised."""
    order = await required_order(command.order_id, work)
    _require(order, GIVEN_UP, "given back")
    for item in await _stock_of(order, work):
        item.release(order_id=command.order_id, now=work.now)
    return Result(order)


async def dispatch_order(command: DispatchOrder, work: Work) -> Result:
    """What the order holds leaves the stock; nothing happens where it holds nothing. Raises IllegalTransition unless
    it was shipped."""
    order = await required_order(command.order_id, work)
    _require(order, SENT_OFF, "taken out of the stock")
    for item in await _stock_of(order, work):
        item.dispatch(order_id=command.order_id, now=work.now)
    return Result(order)


async def expire_holds(command: ExpireHolds, work: Work) -> Result:
    """Give back every hold of the order whose time is up; nothing happens to a confirmed order's, or before that.

    A RESERVED order is rejected in the same save: it can be confirmed or lose its units, and never both."""
    order = await required_order(command.order_id, work)
    if order.status not in UNCONFIRMED:
        return Result(order)
    items = await _stock_of(order, work)
    lapsed = [item for item in items if item.has_lapsed(order_id=command.order_id, now=work.now)]
    for item in lapsed:
        item.expire(order_id=command.order_id, now=work.now)
    if lapsed and order.status is OrderStatus.RESERVED:
        order.reject(reason="not confirmed in time: what was held for it was given back", now=work.now)
    return Result(order)


def _require(order: Order, statuses: frozenset[OrderStatus], what: str) -> None:
    if order.status not in statuses:
        wanted = " or ".join(sorted(statuses))
        raise IllegalTransition(
            f"Order {order.number} is {order.status.value}: what it holds is {what} only when it is {wanted}."
        )


async def _stock_of(order: Order, work: Work) -> list[StockItem]:
    return list((await work.load_many(StockItem, [stock_item_id(sku) for sku in order.quantities()])).values())
