"""Orders: place, ship, deliver; cancel, refund. What confirms and rejects them is in `inventory` and `payments`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from commands.handling import Result, Work
from domain.catalogue import Product
from domain.disclosure import Personal, PersonalField, Plain
from domain.errors import Forbidden, IllegalTransition, Invalid, NotFound
from domain.identity import OrderId, ProductId, UserId, product_id
from domain.money import Money
from domain.orders import LINES_MAX, PAID_OUTSIDE, Order, OrderLine, valid_payment_method, valid_reason
from domain.users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLine:
    """`unit_price` None takes the catalogue's price of this moment; staff may agree another."""

    sku: Plain
    quantity: int
    unit_price: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Order something. `customer_id` None is the actor; another customer and a past `placed_at` are for staff."""

    lines: tuple[WantedLine, ...]
    currency: Plain
    payment_method: Plain
    customer_id: UserId | None = None
    placed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Give an order up before it is shipped; for its customer and STAFF."""

    order_id: OrderId
    reason: Personal


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipOrder:
    """The order has left the house."""

    order_id: OrderId
    carrier: Plain
    tracking_number: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverOrder:
    """The customer has it."""

    order_id: OrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """Give the money of a shipped order back."""

    order_id: OrderId
    reason: Personal


async def place_order(command: PlaceOrder, work: Work) -> Result:
    """Raises NotFound for an unknown SKU or customer, Invalid, or Forbidden for what only staff may ask.

    Whether there is enough stock is decided afterwards: the order is PENDING, then RESERVED or REJECTED."""
    customer_id = await _customer(command, work)
    if not 1 <= len(command.lines) <= LINES_MAX:
        raise Invalid(f"the order has {len(command.lines)} lines; give 1 to {LINES_MAX}.", field=("lines",))
    products = await work.load_many(Product, list({product_id(line.sku.strip()) for line in command.lines}))
    lines = [_order_line(index, line, products, command, work) for index, line in enumerate(command.lines)]
    placed_at = command.placed_at or work.now
    if placed_at > work.now:
        raise Invalid(f"placedAt {placed_at.isoformat()} is in the future.", field=("placedAt",))
    order = Order.place(
        order_id=OrderId(work.ports.ids.new()),
        number=await work.ports.order_numbers.next(),
        customer_id=customer_id,
        lines=lines,
        payment_method=command.payment_method,
        placed_at=placed_at,
        now=work.now,
    )
    return Result(work.add(order))


async def ship_order(command: ShipOrder, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition unless it is CONFIRMED."""
    order = await required_order(command.order_id, work)
    order.ship(carrier=command.carrier, tracking_number=command.tracking_number, now=work.now)
    return Result(order)


async def deliver_order(command: DeliverOrder, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition unless it is SHIPPED."""
    order = await required_order(command.order_id, work)
    order.deliver(now=work.now)
    return Result(order)


async def refund_order(command: RefundOrder, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition unless it is SHIPPED or DELIVERED."""
    order = await required_order(command.order_id, work)
    order.refund(reason=await _sealed_reason(command.reason, order, work), by=work.actor.name, now=work.now)
    return Result(order)


async def required_order(order_id: OrderId, work: Work) -> Order:
    """Raises NotFound."""
    order = await work.load(Order, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.", field=("orderId",))
    return order


async def cancel_order(command: CancelOrder, work: Work) -> Result:
    """Raises NotFound (also for somebody else's order), or IllegalTransition once it was shipped or rejected."""
    order = await work.load(Order, command.order_id)
    if order is None or not (work.actor.is_staff or order.customer_id == work.actor.user_id):
        raise NotFound(f"There is no order {command.order_id} of yours.", field=("orderId",))
    order.cancel(reason=await _sealed_reason(command.reason, order, work), by=work.actor.name, now=work.now)
    return Result(order)


async def _sealed_reason(text: str, order: Order, work: Work) -> str:
    """The reason, sealed for the order's customer; empty once that customer was erased. Raises Invalid."""
    reason = valid_reason(text)

    async def sealed() -> str:
        try:
            (token,) = await work.ports.personal_data.seal(order.customer_id, (PersonalField.ORDER_REASON, reason))
        except IllegalTransition:  # the key is destroyed: nothing about this person is kept any more
            return ""
        return token

    return await work.once("sealed reason", sealed)


async def _customer(command: PlaceOrder, work: Work) -> UserId:
    if not work.actor.is_staff:
        if command.customer_id not in (None, work.actor.user_id):
            raise Forbidden("Only STAFF may place an order for somebody else.")
        if command.placed_at is not None:
            raise Forbidden("Only STAFF may place an order for a past moment.")
        # As it will be stored: with spaces around it, it is the same method.
        if valid_payment_method(command.payment_method) == PAID_OUTSIDE:
            raise Forbidden(f"Only STAFF may place an order that is paid outside (paymentMethod {PAID_OUTSIDE}).")
    customer_id = command.customer_id or work.actor.user_id
    if customer_id is None:
        raise Invalid("Say for whom: an order needs a customer.", field=("customerId",))
    customer = await work.load(User, customer_id)
    if customer is None or customer.erased:
        raise NotFound(f"There is no customer {customer_id}.", field=("customerId",))
    return UserId(customer_id)


def _order_line(
    index: int,
    line: WantedLine,
    products: dict[UUID, Product],
    command: PlaceOrder,
    work: Work,
) -> OrderLine:
    place: Sequence[str] = ("lines", str(index))
    product = products.get(product_id(line.sku.strip()))
    if product is None or not (product.published or work.actor.is_staff):
        raise NotFound(f"There is no product with the SKU {line.sku} for sale.", field=(*place, "sku"))
    if line.unit_price is not None and not work.actor.is_staff:
        raise Forbidden("Only STAFF may agree a price; leave unitPrice out to buy at the catalogue's.")
    price = line.unit_price or product.price
    if price.currency != command.currency:
        raise Invalid(
            f"{product.sku} is priced in {price.currency}, the order is in {command.currency[:10]!r}.",
            field=(*place, "unitPrice"),
        )
    if price.minor <= 0:
        raise Invalid(
            f"{product.sku} has the price {price.amount}; it must be above zero.", field=(*place, "unitPrice")
        )
    return OrderLine(product.sku, ProductId(product.id), product.name, line.quantity, price)
