"""Stock: how much there is, taking in more, and setting it to what was counted."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.graphql.context import Info, RequestContext
from api.graphql.node import Node
from api.graphql.past import Past
from api.graphql.receipts import Answer, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken
from api.graphql.visibility import seen_stock, stock_in
from commands.doors import Door
from commands.handling import anyone
from commands.inventory import AdjustStock, ReceiveStock
from domain import inventory as domain
from domain.identity import stock_item_id
from projections.inventory import StockRow


@strawberry.type(description="How many units of a SKU there are.")
class StockItem(Node):
    sku: str = strawberry.field(description="The SKU.")
    on_hand: int = strawberry.field(description="Units in the house.")
    reserved: int = strawberry.field(description="Units of these that are held for orders.")
    available: int = strawberry.field(description="Units that can still be ordered.")
    version: int = strawberry.field(description="The ledger's version.")

    @classmethod
    def of(cls, row: StockRow) -> StockItem:
        """The row as it is shown."""
        return cls(
            id=strawberry.ID(str(row.id)),
            sku=row.sku,
            on_hand=row.on_hand,
            reserved=row.reserved,
            available=row.on_hand - row.reserved,
            version=row.version,
        )

    @classmethod
    def of_aggregate(cls, item: domain.StockItem) -> StockItem:
        """The ledger as a command left it."""
        row = StockRow(id=item.id, sku=item.sku, on_hand=item.on_hand, reserved=item.reserved, version=item.version)
        return cls.of(row)


@strawberry.type(description="The answer about stock.")
class StockPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    stock_item: StockItem | None = strawberry.field(description="The stock after it.")

    @classmethod
    def of(cls, answer: Answer) -> StockPayload:
        """The answer in the contract's shape."""
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            stock_item=answer.shown(domain.StockItem, StockItem.of_aggregate),
        )


@strawberry.input(description="Goods that came in.")
class ReceiveStockInput:
    sku: str = strawberry.field(description="An existing product's SKU.")
    quantity: int = strawberry.field(description="Units, at least 1.")
    reference: str | None = strawberry.field(default=None, description="A delivery note's number, say.")


@strawberry.input(description="What was counted.")
class AdjustStockInput:
    sku: str = strawberry.field(description="A SKU that has stock.")
    on_hand: int = strawberry.field(description="Units in the house, at least as many as are held for orders.")
    reason: str = strawberry.field(description="Why the number was wrong; for the history.")
    expected_version: int | None = strawberry.field(
        default=None, description="The version that was looked at; with another the answer is CONFLICT."
    )

    def command(self) -> AdjustStock:
        """The command."""
        return AdjustStock(
            sku=self.sku, on_hand=self.on_hand, reason=self.reason, expected_version=self.expected_version
        )


async def stock_row(
    context: RequestContext, *, sku: str, consistent_with: ConsistencyToken | None = None
) -> StockRow | None:
    """None for a SKU without stock, and for one whose product is not the actor's to see."""
    context.freshness.require(consistent_with)
    return await seen_stock(context, await context.stock.load(stock_item_id(sku.strip())))


@strawberry.type
class InventoryQuery:
    @resolver("The stock of a SKU, now or as it was.", who=anyone, door=Door(folds=True))
    async def stock_item(
        self,
        info: Info,
        sku: str,
        as_of: datetime | None = None,
        at_version: int | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> StockItem | None:
        """See `stock_row`; null also where there was none yet. Raises Invalid like `Past.asked` and `Past.row`."""
        context = info.context
        if as_of is None and at_version is None:
            row = await stock_row(context, sku=sku, consistent_with=consistent_with)
            return StockItem.of(row) if row else None
        context.freshness.require(consistent_with)
        past = await Past.asked(context, as_of, at_version)
        row = await stock_in(context, past, sku.strip()) if past else None
        return StockItem.of(row) if row else None


@strawberry.type
class InventoryMutation:
    @resolver("Take units into stock. STAFF.")
    async def receive_stock(
        self, info: Info, input: ReceiveStockInput, idempotency_key: strawberry.ID | None = None
    ) -> StockPayload:
        """See `commands.inventory.receive_stock`."""
        return StockPayload.of(
            await answered(
                info.context,
                lambda: ReceiveStock(sku=input.sku, quantity=input.quantity, reference=input.reference),
                idempotency_key,
            )
        )

    @resolver("Set the units of a SKU to what was counted. STAFF.")
    async def adjust_stock(
        self, info: Info, input: AdjustStockInput, idempotency_key: strawberry.ID | None = None
    ) -> StockPayload:
        """See `commands.inventory.adjust_stock`."""
        return StockPayload.of(await answered(info.context, input.command, idempotency_key))
