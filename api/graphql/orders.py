"""Orders: place, cancel, see one's own; staff see all. Somebody else's order looks like none at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import strawberry
from psycopg.sql import SQL, Composed

from api.graphql.catalogue import Product, product_by_id
from api.graphql.context import Info, RequestContext, parsed_id, required_id
from api.graphql.cursors import COUNT_MAX, PageInfo, decoded, page_of, page_size
from api.graphql.history import HistoryEntry, history
from api.graphql.money import Money, MoneyInput
from api.graphql.node import Node
from api.graphql.receipts import Answer, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken, CurrencyCode
from api.graphql.users import User, user_by_id
from commands.orders import CancelOrder, DeliverOrder, PlaceOrder, RefundOrder, ShipOrder, WantedLine
from domain import orders as domain
from domain.errors import Invalid, NotFound
from domain.identity import OrderId, UserId
from domain.money import Money as DomainMoney
from domain.orders import OrderStatus
from projections.orders import ORDERS, OrderRow

HISTORY_ENTRIES: Final = 100

strawberry.enum(OrderStatus, description="How far an order got.")


@strawberry.type(description="Units of one SKU at one price.")
class OrderLine:
    sku: str = strawberry.field(description="The SKU.")
    name: str = strawberry.field(description="The product's name when it was sold.")
    quantity: int = strawberry.field(description="Units.")
    unit_price: Money = strawberry.field(description="The price of one unit when it was sold.")
    total: Money = strawberry.field(description="The price of all units.")
    product_id: strawberry.Private[UUID]

    @resolver("The product as it is now.")
    async def product(self, info: Info) -> Product | None:
        """Batched; null when it is not for sale any more."""
        return await product_by_id(info.context, self.product_id)

    @classmethod
    def of(cls, line: domain.OrderLine) -> OrderLine:
        """The domain's line as it is shown."""
        return cls(
            sku=line.sku,
            name=line.name,
            quantity=line.quantity,
            unit_price=Money.of(line.unit_price),
            total=Money.of(line.total),
            product_id=line.product_id,
        )


@strawberry.type(description="What a customer wants, and how far it got.")
class Order(Node):
    number: str = strawberry.field(description="A short number for people.")
    status: OrderStatus = strawberry.field(description="How far it got.")
    total: Money = strawberry.field(description="The price of all lines.")
    placed_at: datetime = strawberry.field(description="When it was placed.")
    updated_at: datetime = strawberry.field(description="When something last happened to it.")
    rejection_reason: str | None = strawberry.field(description="Why it was rejected.")
    tracking_number: str | None = strawberry.field(description="The carrier's number, once it was shipped.")
    version: int = strawberry.field(description="The order's version.")
    sold: strawberry.Private[tuple[domain.OrderLine, ...]]
    customer_id: strawberry.Private[UUID]

    @resolver("What was ordered.")
    def lines(self) -> list[OrderLine]:
        """Made only when asked for: an order may have 2,000."""
        return [OrderLine.of(line) for line in self.sold]

    @resolver("Who ordered.")
    async def customer(self, info: Info) -> User | None:
        """Batched over the orders of a page."""
        return await user_by_id(info.context, self.customer_id)

    @resolver("What happened to it, oldest first.")
    async def history(self, info: Info, first: int | None = HISTORY_ENTRIES) -> list[HistoryEntry]:
        """From the log, never late. Who was shown the order may see it."""
        return await history(info.context, UUID(self.id), first, usual=HISTORY_ENTRIES, with_actor=True)

    @classmethod
    def of(cls, row: OrderRow) -> Order:
        """The row as it is shown."""
        return cls(
            id=strawberry.ID(str(row.id)),
            number=row.number,
            status=row.status,
            total=Money.of(DomainMoney(row.total_minor, row.currency)),
            placed_at=row.placed_at,
            updated_at=row.updated_at,
            rejection_reason=row.reason if row.status is OrderStatus.REJECTED else None,
            tracking_number=row.tracking_number,
            version=row.version,
            sold=row.lines,
            customer_id=row.customer_id,
        )

    @classmethod
    def of_aggregate(cls, order: domain.Order) -> Order:
        """The order as a command left it."""
        return cls(
            id=strawberry.ID(str(order.id)),
            number=order.number,
            status=order.status,
            total=Money.of(order.total),
            placed_at=order.placed_at,
            updated_at=order.modified_on,
            rejection_reason=order.reason if order.status is OrderStatus.REJECTED else None,
            tracking_number=order.tracking_number,
            version=order.version,
            sold=order.lines,
            customer_id=order.customer_id,
        )


@strawberry.type(description="An order on a page.")
class OrderEdge:
    cursor: str = strawberry.field(description="Its place; pass it as `after`.")
    node: Order = strawberry.field(description="The order.")


@strawberry.type(description="A page of orders.")
class OrderConnection:
    edges: list[OrderEdge] = strawberry.field(description="The orders with their cursors.")
    nodes: list[Order] = strawberry.field(description="The orders.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")
    wanted: strawberry.Private[Wanted]

    @resolver("How many orders there are in all; null above 10,000.")
    async def total_count(self, info: Info) -> int | None:
        """Counted only when asked for."""
        return await self.wanted.count(info.context)


@strawberry.input(description="Which orders; all conditions together.")
class OrderFilter:
    status: list[OrderStatus] | None = strawberry.field(default=None, description="In one of these states.")
    customer_id: strawberry.ID | None = strawberry.field(default=None, description="Of this customer.")
    placed_from: datetime | None = strawberry.field(default=None, description="Placed at this moment or later.")
    placed_to: datetime | None = strawberry.field(default=None, description="Placed before this moment.")


@strawberry.enum(description="In which order.")
class OrderOrder(Enum):
    PLACED_DESC = "PLACED_DESC"
    PLACED_ASC = "PLACED_ASC"


@strawberry.type(description="The answer about an order.")
class OrderPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    order: Order | None = strawberry.field(description="The order after it.")

    @classmethod
    def of(cls, answer: Answer) -> OrderPayload:
        """The answer in the contract's shape."""
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            order=answer.shown(domain.Order, Order.of_aggregate),
        )


@strawberry.input(description="What to order of one SKU.")
class OrderLineInput:
    sku: str = strawberry.field(description="The SKU.")
    quantity: int = strawberry.field(description="Units, at least 1.")
    unit_price: MoneyInput | None = strawberry.field(default=None, description="An agreed price. STAFF.")

    def wanted(self) -> WantedLine:
        """Raises Invalid for a price that is none."""
        price = self.unit_price.money(field="unitPrice") if self.unit_price else None
        return WantedLine(sku=self.sku, quantity=self.quantity, unit_price=price)


@strawberry.input(description="A new order.")
class PlaceOrderInput:
    lines: list[OrderLineInput] = strawberry.field(description="At least one, at most 2,000.")
    currency: CurrencyCode | None = strawberry.field(
        default=CurrencyCode("GBP"), description="The currency of all prices."
    )
    payment_method: str = strawberry.field(
        description="A payment gateway's token, never a card number; `account` for paid outside (STAFF)."
    )
    customer_id: strawberry.ID | None = strawberry.field(default=None, description="For whom. STAFF.")
    placed_at: datetime | None = strawberry.field(default=None, description="A past moment. STAFF.")

    def command(self) -> PlaceOrder:
        """Raises Invalid for a price that is none, NotFound for a customer id that cannot be one."""
        customer_id = parsed_id(self.customer_id)
        if self.customer_id is not None and customer_id is None:
            raise NotFound(f"There is no customer {self.customer_id}.", field=("customerId",))
        return PlaceOrder(
            lines=tuple(line.wanted() for line in self.lines),
            currency=self.currency or "GBP",
            payment_method=self.payment_method,
            customer_id=UserId(customer_id) if customer_id else None,
            placed_at=self.placed_at,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """The condition on the orders' rows that one list stands for."""

    condition: Composed
    parameters: tuple[Any, ...]

    @classmethod
    def by(cls, context: RequestContext, where: OrderFilter) -> Wanted:
        """What the filter asks for and the actor may see."""
        customer_id = parsed_id(where.customer_id)
        # An id that cannot be one has no orders.
        parts = [SQL("true") if where.customer_id is None or customer_id else SQL("false")]
        parameters: list[Any] = []
        for condition, value in (
            (SQL("customer_id = %s"), None if context.actor.is_staff else context.actor.user_id),
            (SQL("customer_id = %s"), customer_id),
            (SQL("status = ANY(%s)"), None if where.status is None else [status.value for status in where.status]),
            (SQL("placed_at >= %s"), where.placed_from),
            (SQL("placed_at < %s"), where.placed_to),
        ):
            if value is not None:
                parts.append(condition)
                parameters.append(value)
        return cls(SQL(" AND ").join(parts), tuple(parameters))

    async def count(self, context: RequestContext) -> int | None:
        """How many rows there are; None above COUNT_MAX, where nobody waits for the exact number."""
        return await context.kontor.reads.count(ORDERS, self.condition, self.parameters, at_most=COUNT_MAX)


async def order_page(
    context: RequestContext, *, where: OrderFilter, order_by: OrderOrder, first: int | None, after: str | None
) -> OrderConnection:
    """A page of the orders the actor may see. Raises Invalid for a bad page size or cursor."""
    size = page_size(first)
    wanted = Wanted.by(context, where)
    condition, parameters = wanted.condition, list(wanted.parameters)
    descending = order_by is OrderOrder.PLACED_DESC
    if after is not None:
        condition = condition + SQL(f" AND (placed_at, id) {'<' if descending else '>'} (%s, %s)")
        parameters += decoded(after, tuple[datetime, UUID])
    await context.freshness.settle(ORDERS)
    direction = SQL("DESC" if descending else "ASC")
    condition = condition + SQL(" ORDER BY placed_at {0}, id {0} LIMIT %s").format(direction)
    rows = await context.kontor.reads.where(ORDERS, condition, [*parameters, size + 1])
    page = page_of(rows, [(row.placed_at, row.id) for row in rows], size=size, after=after)
    nodes = [Order.of(row) for row in page.rows]
    edges = [OrderEdge(cursor=cursor, node=node) for cursor, node in zip(page.cursors, nodes, strict=True)]
    return OrderConnection(edges=edges, nodes=nodes, page_info=page.info, wanted=wanted)


async def order_by_id(context: RequestContext, order_id: UUID | None) -> Order | None:
    """The order, unless it is not the actor's to see."""
    row = await context.orders.load(order_id) if order_id else None
    return Order.of(row) if row and context.may_see_of(row.customer_id) else None


async def order_by_number(context: RequestContext, number: str) -> Order | None:
    """The order, unless it is not the actor's to see."""
    if not number.isascii() or not number.isalnum():
        return None
    await context.freshness.settle(ORDERS)
    rows = await context.kontor.reads.where(ORDERS, SQL("number = %s"), [number])
    return Order.of(rows[0]) if rows and context.may_see_of(rows[0].customer_id) else None


@strawberry.type
class OrdersQuery:
    @resolver("One order, by id or number, for its customer and STAFF.")
    async def order(
        self,
        info: Info,
        id: strawberry.ID | None = None,
        number: str | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> Order | None:
        """Null for a missing order and for somebody else's. Raises Invalid without id and number, Unauthenticated."""
        context = info.context
        context.require_signed_in()
        context.freshness.require(consistent_with)
        if id is None and number is None:
            raise Invalid("Give the order's id or number.")
        if id is None:
            return await order_by_number(context, number or "")
        order = await order_by_id(context, parsed_id(id))
        return order if order and number in (None, order.number) else None

    @resolver("One's own orders; STAFF see all.")
    async def orders(
        self,
        info: Info,
        where: OrderFilter | None = None,
        order_by: OrderOrder | None = OrderOrder.PLACED_DESC,
        first: int | None = 20,
        after: str | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> OrderConnection:
        """Raises Unauthenticated, or Invalid for a page size outside 1 to 100 or a cursor of another list."""
        context = info.context
        context.require_signed_in()
        context.freshness.require(consistent_with)
        order = order_by or OrderOrder.PLACED_DESC
        return await order_page(context, where=where or OrderFilter(), order_by=order, first=first, after=after)


@strawberry.type
class OrdersMutation:
    @resolver("Place an order. It is PENDING until its stock is held, or REJECTED without.")
    async def place_order(
        self, info: Info, input: PlaceOrderInput, idempotency_key: strawberry.ID | None = None
    ) -> OrderPayload:
        """See `commands.orders.place_order`."""
        return OrderPayload.of(await answered(info.context, input.command, idempotency_key))

    @resolver("Give an order up; for its customer and STAFF.")
    async def cancel_order(
        self, info: Info, order_id: strawberry.ID, reason: str, idempotency_key: strawberry.ID | None = None
    ) -> OrderPayload:
        """See `commands.orders.cancel_order`."""

        def command() -> CancelOrder:
            found = parsed_id(order_id)
            if found is None:
                raise NotFound(f"There is no order {order_id} of yours.", field=("orderId",))
            return CancelOrder(order_id=OrderId(found), reason=reason)

        return OrderPayload.of(await answered(info.context, command, idempotency_key))

    @resolver("A confirmed order has left the house; for STAFF.")
    async def ship_order(
        self,
        info: Info,
        order_id: strawberry.ID,
        carrier: str,
        tracking_number: str,
        idempotency_key: strawberry.ID | None = None,
    ) -> OrderPayload:
        """See `commands.orders.ship_order`."""

        def command() -> ShipOrder:
            return ShipOrder(order_id=_named(order_id), carrier=carrier, tracking_number=tracking_number)

        return OrderPayload.of(await answered(info.context, command, idempotency_key))

    @resolver("The customer has a shipped order; for STAFF.")
    async def deliver_order(
        self, info: Info, order_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> OrderPayload:
        """See `commands.orders.deliver_order`."""
        return OrderPayload.of(
            await answered(info.context, lambda: DeliverOrder(order_id=_named(order_id)), idempotency_key)
        )

    @resolver("The money of a shipped order is given back; for STAFF.")
    async def refund_order(
        self, info: Info, order_id: strawberry.ID, reason: str, idempotency_key: strawberry.ID | None = None
    ) -> OrderPayload:
        """See `commands.orders.refund_order`."""
        return OrderPayload.of(
            await answered(info.context, lambda: RefundOrder(order_id=_named(order_id), reason=reason), idempotency_key)
        )


def _named(order_id: str) -> OrderId:
    """Raises NotFound."""
    return OrderId(required_id(order_id, what="order", field="orderId"))
