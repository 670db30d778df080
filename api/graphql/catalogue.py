"""Products: find them, page through them, add and change them. What is not published is shown to staff alone."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from api.graphql.categories import Category, category_then
from api.graphql.context import Info, RequestContext, parsed_id, required_id
from api.graphql.cursors import Page, PageInfo, page_size
from api.graphql.facets import Facet, facets_of
from api.graphql.history import HistoryEntry, history
from api.graphql.inventory import StockItem
from api.graphql.money import Money, MoneyInput
from api.graphql.node import Node
from api.graphql.past import Past, row_then
from api.graphql.product_search import ProductFilter, ProductOrder, ProductSearch
from api.graphql.receipts import Answer, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken
from api.graphql.visibility import Publication, may_see_product
from commands.catalogue import AddProduct, PublishProduct, RepriceProduct, UpdateProduct, WithdrawProduct
from commands.doors import PLAIN, Door
from commands.handling import anyone
from domain import catalogue as domain
from domain import money as domain_money
from domain.errors import Invalid
from domain.identity import CategoryId, ProductId, product_id, stock_item_id
from projections.catalogue import CATALOGUE, ProductRow
from projections.inventory import STOCK

HISTORY_ENTRIES = 50


@strawberry.type(description="Something for sale.")
class Product(Node):
    sku: str = strawberry.field(description="The SKU; one product has it.")
    name: str = strawberry.field(description="What shoppers call it.")
    description: str = strawberry.field(description="A longer text; may be empty.")
    price: Money = strawberry.field(description="The price of one unit.")
    published: bool = strawberry.field(description="Can customers see and order it?")
    version: int = strawberry.field(description="The product's version.")
    category_ids: strawberry.Private[tuple[UUID, ...]]
    then: strawberry.Private[int | None] = None  # of the past: the position of the log

    @resolver("The categories it is in; those that were removed are left out.")
    async def categories(self, info: Info) -> list[Category]:
        """Batched over the products of a page."""
        if self.then is not None:
            past = [await category_then(info.context, each, self.then) for each in self.category_ids]
            return [category for category in past if category]
        rows = await info.context.categories.load_many(self.category_ids)
        return [Category.of(row) for row in rows if row and not row.removed]

    @resolver("Its stock; null before any was received.")
    async def stock(self, info: Info) -> StockItem | None:
        """Batched over the products of a page."""
        item_id = stock_item_id(self.sku)
        if self.then is None:
            row = await info.context.stock.load(item_id)
        else:
            row = await row_then(info.context, STOCK, item_id, self.then)
        return StockItem.of(row) if row else None

    @resolver("What happened to it while it was published, oldest first. Who did it, and its drafts, are for STAFF.")
    async def history(self, info: Info, first: int | None = HISTORY_ENTRIES) -> list[HistoryEntry]:
        """From the log, never late."""
        staff = info.context.actor.is_staff
        return await history(
            info.context,
            UUID(self.id),
            first,
            usual=HISTORY_ENTRIES,
            with_actor=staff,
            until=self.then,
            shows=None if staff else Publication().shows,
        )

    @classmethod
    def of(cls, row: ProductRow, *, then: int | None = None) -> Product:
        """The row as it is shown, or was shown at a position of the log."""
        return cls(
            id=strawberry.ID(str(row.id)),
            sku=row.sku,
            name=row.name,
            description=row.description,
            price=Money.of(domain_money.Money(row.price_minor, row.currency)),
            published=row.published,
            version=row.version,
            category_ids=row.category_ids,
            then=then,
        )

    @classmethod
    def of_aggregate(cls, product: domain.Product) -> Product:
        """The product as a command left it."""
        return cls(
            id=strawberry.ID(str(product.id)),
            sku=product.sku,
            name=product.name,
            description=product.description,
            price=Money.of(product.price),
            published=product.published,
            version=product.version,
            category_ids=product.category_ids,
        )


@strawberry.type(description="A product on a page.")
class ProductEdge:
    cursor: str = strawberry.field(description="Its place; pass it as `after`.")
    node: Product = strawberry.field(description="The product.")


@strawberry.type(description="A page of products.")
class ProductConnection:
    edges: list[ProductEdge] = strawberry.field(description="The products with their cursors.")
    nodes: list[Product] = strawberry.field(description="The products.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")
    search: strawberry.Private[ProductSearch]

    @resolver("How many products there are in all; null above 10,000.")
    async def total_count(self, info: Info) -> int | None:
        """Counted only when asked for."""
        return await self.search.count(info.context)

    @resolver("How the products divide by category, price and availability; none for more than 100,000 found.")
    async def facets(self, info: Info) -> list[Facet]:
        """Counted only when asked for; see `api.graphql.facets`."""
        return await facets_of(info.context, self.search)


@strawberry.type(description="The answer about a product.")
class ProductPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    product: Product | None = strawberry.field(description="The product after it.")

    @classmethod
    def of(cls, answer: Answer) -> ProductPayload:
        """The answer in the contract's shape."""
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            product=answer.shown(domain.Product, Product.of_aggregate),
        )


@strawberry.input(description="A new product.")
class AddProductInput:
    sku: str = strawberry.field(description="Its SKU, not yet taken.")
    name: str = strawberry.field(description="What shoppers call it.")
    description: str | None = strawberry.field(default="", description="A longer text.")
    price: MoneyInput = strawberry.field(description="The price of one unit, above zero.")
    category_ids: list[strawberry.ID] | None = strawberry.field(
        default_factory=list, description="The categories it is in."
    )
    published: bool | None = strawberry.field(default=True, description="May customers see and order it at once?")

    def command(self) -> AddProduct:
        """Raises Invalid for a price that is none, NotFound for a category's id that cannot be one."""
        return AddProduct(
            sku=self.sku,
            name=self.name,
            description=self.description or "",
            price=self.price.money(field="price"),
            category_ids=parsed_category_ids(self.category_ids or []),
            published=self.published is not False,
        )


@strawberry.input(description="How a product is described, and where it stands; what is left out stays.")
class UpdateProductInput:
    product_id: strawberry.ID = strawberry.field(description="The product.")
    name: str | None = strawberry.field(default=None, description="What shoppers call it.")
    description: str | None = strawberry.field(default=None, description="A longer text; may be empty.")
    category_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="All the categories it is in from now on."
    )
    expected_version: int | None = strawberry.field(
        default=None, description="The version that was looked at; with another the answer is CONFLICT."
    )

    def command(self) -> UpdateProduct:
        """Raises NotFound for an id that cannot be one."""
        return UpdateProduct(
            product_id=parsed_product_id(self.product_id),
            name=self.name,
            description=self.description,
            category_ids=None if self.category_ids is None else parsed_category_ids(self.category_ids),
            expected_version=self.expected_version,
        )


@strawberry.input(description="Another price.")
class RepriceProductInput:
    product_id: strawberry.ID = strawberry.field(description="The product.")
    price: MoneyInput = strawberry.field(description="The price of one unit, above zero, in the product's currency.")
    expected_version: int | None = strawberry.field(
        default=None, description="The version that was looked at; with another the answer is CONFLICT."
    )

    def command(self) -> RepriceProduct:
        """Raises Invalid for a price that is none, NotFound for an id that cannot be one."""
        return RepriceProduct(
            product_id=parsed_product_id(self.product_id),
            price=self.price.money(field="price"),
            expected_version=self.expected_version,
        )


def parsed_product_id(text: str) -> ProductId:
    """Raises NotFound for what cannot be an id."""
    return ProductId(required_id(text, what="product", field="productId"))


def parsed_category_ids(texts: list[strawberry.ID]) -> tuple[CategoryId, ...]:
    """Raises NotFound for what cannot be an id."""
    return tuple(CategoryId(required_id(text, what="category", field="categoryIds")) for text in texts)


async def product_by_id(context: RequestContext, row_id: UUID) -> Product | None:
    """The product, unless it is not the actor's to see."""
    row = await context.products.load(row_id)
    return Product.of(row) if row and may_see_product(context, row) else None


def asked_for(id: strawberry.ID | None, sku: str | None) -> UUID | None:
    """The product's id; None where there can be none. Raises Invalid without id and SKU."""
    if id is None and sku is None:
        raise Invalid("Give the product's id or sku.")
    row_id = parsed_id(id) if sku is None else product_id(sku.strip())
    return row_id if id is None or parsed_id(id) == row_id else None


async def product_row(
    context: RequestContext,
    *,
    id: strawberry.ID | None = None,
    sku: str | None = None,
    consistent_with: ConsistencyToken | None = None,
) -> ProductRow | None:
    """None for an unknown one, and one that is not the actor's to see. Raises Invalid without id and SKU."""
    context.freshness.require(consistent_with)
    row_id = asked_for(id, sku)
    row = await context.products.load(row_id) if row_id else None
    return row if row and may_see_product(context, row) else None


async def product_page(
    context: RequestContext,
    *,
    search: str | None = None,
    where: ProductFilter | None = None,
    order_by: ProductOrder | None = ProductOrder.RELEVANCE,
    first: int | None = 20,
    after: str | None = None,
    consistent_with: ConsistencyToken | None = None,
) -> tuple[ProductSearch, Page[ProductRow]]:
    """Raises Invalid for a page size outside 1 to 100, a cursor of another list, and like `ProductSearch.by`."""
    context.freshness.require(consistent_with)
    size = page_size(first)
    sought = await ProductSearch.by(context, search, where, order_by)
    return sought, await sought.page(context, size=size, after=after)


async def product_in(context: RequestContext, past: Past, row_id: UUID) -> Product | None:
    """The product as it was, unless the actor may not see it now, or could not then. With a version, what it names is
    as it was when that version began."""
    if not context.actor.is_staff and await product_by_id(context, row_id) is None:
        return None
    row = await past.row(context, CATALOGUE, row_id)
    if row is None or not may_see_product(context, row):
        return None
    return Product.of(row, then=row.position if past.position is None else past.position)


@strawberry.type
class CatalogueQuery:
    @resolver("One product, by id or SKU, now or as it was.", who=anyone, door=Door(folds=True))
    async def product(
        self,
        info: Info,
        id: strawberry.ID | None = None,
        sku: str | None = None,
        as_of: datetime | None = None,
        at_version: int | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> Product | None:
        """See `product_row`; null also for one not there yet. Raises Invalid like `Past.asked` and `Past.row`."""
        context = info.context
        if as_of is None and at_version is None:
            row = await product_row(context, id=id, sku=sku, consistent_with=consistent_with)
            return Product.of(row) if row else None
        context.freshness.require(consistent_with)
        row_id = asked_for(id, sku)
        past = await Past.asked(context, as_of, at_version)
        return await product_in(context, past, row_id) if row_id and past else None

    @resolver(
        "Products that a search and a filter find, a page at a time. The search looks at SKU, name, description.",
        who=anyone,
        door=PLAIN,
    )
    async def products(
        self,
        info: Info,
        search: str | None = None,
        where: ProductFilter | None = None,
        order_by: ProductOrder | None = ProductOrder.RELEVANCE,
        first: int | None = 20,
        after: str | None = None,
        consistent_with: ConsistencyToken | None = None,
    ) -> ProductConnection:
        """See `product_page`."""
        sought, page = await product_page(
            info.context,
            search=search,
            where=where,
            order_by=order_by,
            first=first,
            after=after,
            consistent_with=consistent_with,
        )
        nodes = [Product.of(row) for row in page.rows]
        edges = [ProductEdge(cursor=cursor, node=node) for cursor, node in zip(page.cursors, nodes, strict=True)]
        return ProductConnection(edges=edges, nodes=nodes, page_info=page.info, search=sought)


@strawberry.type
class CatalogueMutation:
    @resolver("Add a product. STAFF.")
    async def add_product(
        self, info: Info, input: AddProductInput, idempotency_key: strawberry.ID | None = None
    ) -> ProductPayload:
        """See `commands.catalogue.add_product`."""
        return ProductPayload.of(await answered(info.context, input.command, idempotency_key))

    @resolver("Describe a product anew, or move it to other categories. STAFF.")
    async def update_product(
        self, info: Info, input: UpdateProductInput, idempotency_key: strawberry.ID | None = None
    ) -> ProductPayload:
        """See `commands.catalogue.update_product`."""
        return ProductPayload.of(await answered(info.context, input.command, idempotency_key))

    @resolver("Sell a product at another price; placed orders keep theirs. STAFF.")
    async def reprice_product(
        self, info: Info, input: RepriceProductInput, idempotency_key: strawberry.ID | None = None
    ) -> ProductPayload:
        """See `commands.catalogue.reprice_product`."""
        return ProductPayload.of(await answered(info.context, input.command, idempotency_key))

    @resolver("Let customers see and order a product. STAFF.")
    async def publish_product(
        self, info: Info, product_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> ProductPayload:
        """See `commands.catalogue.publish_product`."""

        def command() -> PublishProduct:
            return PublishProduct(product_id=parsed_product_id(product_id))

        return ProductPayload.of(await answered(info.context, command, idempotency_key))

    @resolver("Hide a product from customers; placed orders stay. STAFF.")
    async def withdraw_product(
        self, info: Info, product_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> ProductPayload:
        """See `commands.catalogue.withdraw_product`."""

        def command() -> WithdrawProduct:
            return WithdrawProduct(product_id=parsed_product_id(product_id))

        return ProductPayload.of(await answered(info.context, command, idempotency_key))
