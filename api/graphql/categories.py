"""The catalogue's tree: read it, add to it, change it."""

from __future__ import annotations

from uuid import UUID

import strawberry
from psycopg.sql import SQL

from api.graphql.context import Info, RequestContext, required_id
from api.graphql.node import Node
from api.graphql.past import row_then
from api.graphql.receipts import Answer, OkPayload, Receipt, UserError, answered
from api.graphql.resolvers import resolver
from api.graphql.scalars import ConsistencyToken
from commands.categories import AddCategory, RemoveCategory, UpdateCategory
from commands.doors import PLAIN
from commands.handling import anyone
from domain import catalogue as domain
from domain.identity import CategoryId
from domain.text import plain_text
from projections.categories import CATEGORIES, CategoryRow

# A tree that people walk is far smaller; the first ones by name are shown.
CATEGORIES_MAX = 1_000


@strawberry.type(description="A place in the catalogue's tree.")
class Category(Node):
    name: str = strawberry.field(description="What shoppers call it.")
    slug: str = strawberry.field(description="Its name in addresses: a-z, 0-9 and hyphens; one category has it.")
    description: str = strawberry.field(description="A longer text; may be empty.")
    version: int = strawberry.field(description="The category's version.")
    parent_id: strawberry.Private[UUID | None]
    then: strawberry.Private[int | None] = None  # of the past: the position of the log

    @resolver("The category above it; null at the top, and when that one was removed.")
    async def parent(self, info: Info) -> Category | None:
        """Batched over the categories of a list."""
        if self.then is not None and self.parent_id is not None:
            return await category_then(info.context, self.parent_id, self.then)
        return await category_by_id(info.context, self.parent_id)

    @classmethod
    def of(cls, row: CategoryRow, *, then: int | None = None) -> Category:
        """The row as it is shown, or was shown at a position of the log."""
        return cls(
            id=strawberry.ID(str(row.id)),
            name=row.name,
            slug=row.slug,
            description=row.description,
            version=row.version,
            parent_id=row.parent_id,
            then=then,
        )

    @classmethod
    def of_aggregate(cls, category: domain.Category) -> Category:
        """The category as a command left it."""
        return cls(
            id=strawberry.ID(str(category.id)),
            name=category.name,
            slug=category.slug,
            description=category.description,
            version=category.version,
            parent_id=category.parent_id,
        )


@strawberry.type(description="The answer about a category.")
class CategoryPayload:
    ok: bool = strawberry.field(description="Was it done?")
    user_errors: list[UserError] = strawberry.field(description="Why not; empty when it was done.")
    receipt: Receipt | None = strawberry.field(description="What was stored.")
    category: Category | None = strawberry.field(description="The category after it.")

    @classmethod
    def of(cls, answer: Answer) -> CategoryPayload:
        """The answer in the contract's shape."""
        return cls(
            ok=answer.ok,
            user_errors=answer.errors,
            receipt=answer.receipt,
            category=answer.shown(domain.Category, Category.of_aggregate),
        )


@strawberry.input(description="A new category.")
class AddCategoryInput:
    name: str = strawberry.field(description="What shoppers call it.")
    slug: str = strawberry.field(description="Its name in addresses, not yet taken: a-z, 0-9 and hyphens.")
    description: str | None = strawberry.field(default="", description="A longer text.")
    parent_id: strawberry.ID | None = strawberry.field(default=None, description="The category above; none at the top.")

    def command(self) -> AddCategory:
        """Raises NotFound for a parent's id that cannot be one."""
        return AddCategory(
            name=self.name,
            slug=self.slug,
            description=self.description or "",
            parent_id=optional_category_id(self.parent_id, field="parentId"),
        )


def optional_category_id(text: str | None, *, field: str) -> CategoryId | None:
    """None for None. Raises NotFound for what cannot be an id."""
    return None if text is None else CategoryId(required_id(text, what="category", field=field))


def is_shown(_: RequestContext, row: CategoryRow) -> bool:
    """Everybody sees a category until it is removed."""
    return not row.removed


async def category_by_id(context: RequestContext, row_id: UUID | None) -> Category | None:
    """The category, unless it was removed."""
    row = None if row_id is None else await context.categories.load(row_id)
    return Category.of(row) if row and is_shown(context, row) else None


async def category_row(
    context: RequestContext, *, slug: str, consistent_with: ConsistencyToken | None = None
) -> CategoryRow | None:
    """None for a slug that no category has now. Raises Invalid for a text that no slug can be."""
    wanted = plain_text(slug, field="slug", length_max=domain.SLUG_LENGTH_MAX, length_min=0)
    context.freshness.require(consistent_with)
    await context.freshness.settle(CATEGORIES)
    # Of two, the earlier owner's removal is still on its way.
    condition = SQL("slug = %s AND NOT removed ORDER BY position DESC LIMIT 1")
    rows = await context.kontor.reads.where(CATEGORIES, condition, [wanted])
    return rows[0] if rows else None


async def category_then(context: RequestContext, row_id: UUID, position: int) -> Category | None:
    """The category as it was at a position of the log, unless it had been removed."""
    row = await row_then(context, CATEGORIES, row_id, position)
    return Category.of(row, then=position) if row and not row.removed else None


@strawberry.type
class CategoriesQuery:
    @resolver("One category, by its slug.", who=anyone, door=PLAIN)
    async def category(self, info: Info, slug: str, consistent_with: ConsistencyToken | None = None) -> Category | None:
        """See `category_row`."""
        row = await category_row(info.context, slug=slug, consistent_with=consistent_with)
        return Category.of(row) if row else None

    @resolver("The whole tree, by name.", who=anyone, door=PLAIN)
    async def categories(self, info: Info, consistent_with: ConsistencyToken | None = None) -> list[Category]:
        """At most CATEGORIES_MAX; their parents are then at hand without another query."""
        context = info.context
        context.freshness.require(consistent_with)
        await context.freshness.settle(CATEGORIES)
        condition = SQL("NOT removed ORDER BY name, id LIMIT %s")
        rows = await context.kontor.reads.where(CATEGORIES, condition, [CATEGORIES_MAX])
        for row in rows:
            context.categories.prime(row.id, row)
        return [Category.of(row) for row in rows]


@strawberry.type
class CategoriesMutation:
    @resolver("Add a category. STAFF.")
    async def add_category(
        self, info: Info, input: AddCategoryInput, idempotency_key: strawberry.ID | None = None
    ) -> CategoryPayload:
        """See `commands.categories.add_category`."""
        return CategoryPayload.of(await answered(info.context, input.command, idempotency_key))

    @resolver("Describe a category anew, or move it with all that is below it; what is left out stays. STAFF.")
    async def update_category(
        self,
        info: Info,
        category_id: strawberry.ID,
        name: str | None = None,
        description: str | None = None,
        parent_id: strawberry.ID | None = None,
        expected_version: int | None = None,
        idempotency_key: strawberry.ID | None = None,
    ) -> CategoryPayload:
        """See `commands.categories.update_category`."""

        def command() -> UpdateCategory:
            return UpdateCategory(
                category_id=CategoryId(required_id(category_id, what="category", field="categoryId")),
                name=name,
                description=description,
                parent_id=optional_category_id(parent_id, field="parentId"),
                expected_version=expected_version,
            )

        return CategoryPayload.of(await answered(info.context, command, idempotency_key))

    @resolver("Take a category out of the tree; those below it stay, and show no parent. STAFF.")
    async def remove_category(
        self, info: Info, category_id: strawberry.ID, idempotency_key: strawberry.ID | None = None
    ) -> OkPayload:
        """See `commands.categories.remove_category`."""

        def command() -> RemoveCategory:
            return RemoveCategory(category_id=CategoryId(required_id(category_id, what="category", field="categoryId")))

        return OkPayload.of(await answered(info.context, command, idempotency_key))
