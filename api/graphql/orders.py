"""Orders: place, cancel, see one's own; staff see all. Somebody else's order looks like none at all."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import strawberry

from api.graphql.catalogue import Product, product_by_id
from api.graphql.context import Info, RequestContext, parsed_id, required_id
from api.graphql.cursors import Page, PageInfo
from api.graphql.history import HistoryEntry, history
from api.graphql.money import Money, MoneyInput
from api.graphql.node import Node
from api.graphql.order_rows import order_row, orders_page, seen_order
from api.graphql.order_search import OrderFilter, OrderOrder, OrderSearch
from api.graphql.past import Past
from api.graphql.payments import Payment, payment_of
from api.graphql.receipts import Answer, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken, CurrencyCode
from api.graphql.users import User, user_by_id
from commands.doors import PLAIN, Door
from commands.handling import signed_in
from commands.orders import CancelOrder, DeliverOrder, PlaceOrder, RefundOrder, ShipOrder, WantedLine
from domain import orders as domain
from domain.errors import NotFound
from domain.identity import OrderId, UserId
from domain.money import Money as DomainMoney
from domain.orders import OrderStatus
from projections.orders import ORDERS, OrderRow

HISTORY_ENTRIES: Final = 100
# Numbers can be counted through: what is not found is counted, whether there is such an order or not.
FOUND_BY_NUMBER: Final = Door(guesses="number", folds=True)


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
    then: strawberry.Private[int | None] = None  # of the past: the position of the log

    @resolver("What was ordered.")
    def lines(self) -> list[OrderLine]:
        """Made only when asked for: an order may have 2,000."""
        return [OrderLine.of(line) for line in self.sold]

    @resolver("Who ordered.")
    async def customer(self, info: Info) -> User | None:
        """Batched over the orders of a page."""
        return await user_by_id(info.context, self.customer_id)

    @resolver("Its payment, once one was asked for.")
    async def payment(self, info: Info) -> Payment | None:
        """Batched over the orders of a page; null for an order that is paid outside."""
        return await payment_of(info.context, OrderId(UUID(self.id)), then=self.then)

    @resolver("What happened to it, oldest first.")
    async def history(self, info: Info, first: int | None = HISTORY_ENTRIES) -> list[HistoryEntry]:
        """From the log, never late. Who was shown the order may see it."""
        order_id = UUID(self.id)
        return await history(
            info.context,
            order_id,
            first,
            usual=HISTORY_ENTRIES,
            with_actor=True,
            until=self.then,
            person=self.customer_id,
        )

    @classmethod
    def of(cls, row: OrderRow, *, then: int | None = None) -> Order:
        """The row as it is shown, or was shown at a position of the log."""
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
            then=then,
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
    search: strawberry.Private[OrderSearch]

    @resolver("How many orders there are in all; null above 10,000.")
    async def total_count(self, info: Info) -> int | None:
        """Counted only when asked for."""
        return await self.search.count(info.context)


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


def order_connection(search: OrderSearch, page: Page[OrderRow]) -> OrderConnection:
    """The page as it is shown."""
    nodes = [Order.of(row) for row in page.rows]
    edges = [OrderEdge(cursor=cursor, node=node) for cursor, node in zip(page.cursors, nodes, strict=True)]
    return OrderConnection(edges=edges, nodes=nodes, page_info=page.info, search=search)


async def order_by_id(context: RequestContext, order_id: UUID | None) -> Order | None:
    """The order, unless it is not the actor's to see."""
    row = await seen_order(context, order_id)
    return Order.of(row) if row else None


async def order_in(context: RequestContext, past: Past, order_id: UUID) -> Order | None:
    """The order as it was, unless it is not the actor's to see. With a version, its payment is as it was when that
    version began; customer and products are always those of now."""
    row = await past.row(context, ORDERS, order_id)
    if row is None or not context.may_see_of(row.customer_id):
        return None
    return Order.of(row, then=row.position if past.position is None else past.position)


@strawberry.type
class OrdersQuery:
    @resolver(
        "One order, by id or number, now or as it was; for its customer and STAFF.", who=signed_in, door=FOUND_BY_NUMBER
    )
    async def order(
        self,
        info: Info,
        id: strawberry.ID | None = None,
        number: str | None = None,
        as_of: datetime | None = None,
        at_version: int | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> Order | None:
        """See `order_row`; null also for one not there yet. Raises Invalid like `Past.asked` and `Past.row`."""
        context = info.context
        if as_of is None and at_version is None:
            row = await order_row(context, id=id, number=number, consistent_with=consistent_with)
            return Order.of(row) if row else None
        context.freshness.require(consistent_with)
        order_id = parsed_id(id)
        if id is None:
            row = await order_row(context, number=number)
            order_id = row.id if row else None
        past = await Past.asked(context, as_of, at_version)
        order = await order_in(context, past, order_id) if past and order_id else None
        return order if order and number in (None, order.number) else None

    @resolver("One's own orders; STAFF see all.", who=signed_in, door=PLAIN)
    async def orders(
        self,
        info: Info,
        where: OrderFilter | None = None,
        order_by: OrderOrder | None = OrderOrder.PLACED_DESC,
        first: int | None = 20,
        after: str | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> OrderConnection:
        """See `orders_page`."""
        search, page = await orders_page(
            info.context,
            where=where,
            order_by=order_by,
            first=first,
            after=after,
            consistent_with=consistent_with,
        )
        return order_connection(search, page)


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
