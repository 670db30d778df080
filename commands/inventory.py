"""Stock: receive it; hold it for an order, all lines or none; give it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from commands.handling import Result, Work
from domain.catalogue import Product, valid_sku
from domain.errors import NotFound
from domain.identity import OrderId, product_id, stock_item_id
from domain.inventory import HOLD_S_MAX, StockItem
from domain.orders import Order, OrderStatus

REASON_ITEMS_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveStock:
    sku: str
    quantity: int
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveOrder:
    """Hold every line of an order, or reject the order."""

    order_id: OrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrder:
    """Give back everything an order holds."""

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


async def reserve_order(command: ReserveOrder, work: Work) -> Result:
    """Every line is held and the order RESERVED, or nothing is and the order REJECTED: one save, so no
    crash and no rival leaves half of it. Nothing happens to an order that is no longer PENDING."""
    order = await required_order(command.order_id, work)
    if order.status is not OrderStatus.PENDING:
        return Result(order)
    wanted = order.quantities()
    items = await work.load_many(StockItem, [stock_item_id(sku) for sku in wanted])
    lacking = []
    for sku, quantity in wanted.items():
        item = items.get(stock_item_id(sku))
        if item is None or not item.can_reserve(order_id=command.order_id, quantity=quantity):
            lacking.append(f"{sku} (wanted {quantity}, available {item.available if item else 0})")
            if item is not None:
                item.refuse(order_id=command.order_id, quantity=quantity, now=work.now)
    if lacking:
        more = f" and {len(lacking) - REASON_ITEMS_MAX} more" if len(lacking) > REASON_ITEMS_MAX else ""
        order.reject(reason=f"not enough stock: {', '.join(lacking[:REASON_ITEMS_MAX])}{more}", now=work.now)
        return Result(order)
    for sku, quantity in wanted.items():
        items[stock_item_id(sku)].reserve(
            order_id=command.order_id,
            quantity=quantity,
            expires_at=work.now + timedelta(seconds=HOLD_S_MAX),
            now=work.now,
        )
    order.reserve(now=work.now)
    return Result(order)


async def release_order(command: ReleaseOrder, work: Work) -> Result:
    """Give back what the order holds; nothing happens where it holds nothing."""
    order = await required_order(command.order_id, work)
    for item in (await work.load_many(StockItem, [stock_item_id(sku) for sku in order.quantities()])).values():
        item.release(order_id=command.order_id, now=work.now)
    return Result(order)


async def required_order(order_id: OrderId, work: Work) -> Order:
    """Raises NotFound."""
    order = await work.load(Order, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.", field=("orderId",))
    return order
