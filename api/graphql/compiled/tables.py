"""The fields the compiled path knows, type by type, and how each is read from its source.

The source of a type is its view's row; of Money a pair (minor units, currency), of a connection a `Listed`. `type` is
what the schema says of the field: a field that is not here, or has another type there, is left to the ordinary path.
Tables have no fields with arguments. Kept in step with the schema by `tests/api/test_compiled.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from operator import attrgetter, itemgetter
from typing import Any, Final

from api.graphql.categories import is_shown
from api.graphql.context import RequestContext
from api.graphql.cursors import Page
from api.graphql.loading import Loader
from api.graphql.money import amount_text
from api.graphql.scalars import serialized_moment
from api.graphql.users import ERASED
from api.graphql.visibility import may_see_product
from domain.disclosure import PersonalField
from domain.identity import OrderId, payment_id, stock_item_id
from domain.orders import OrderStatus


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value of the source, as JSON has it."""

    type: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Part:
    """An object, or a list of them, that the source holds."""

    type: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Link:
    """Another row, or several where the key is a sequence; None is no row."""

    type: str
    loader: Callable[[RequestContext], Loader[Any, Any]]
    key: Callable[[RequestContext, Any], Any]
    shown: Callable[[RequestContext, Any], bool] = lambda _, __: True

    async def fetch(self, context: RequestContext, keys: list[Any]) -> dict[Any, Any]:
        """Those of the rows that exist and may be seen."""
        rows = await self.loader(context).many(keys)
        return {key: rows[key] for key in keys if key in rows and self.shown(context, rows[key])}


@dataclass(frozen=True, slots=True)
class Asked:
    """A value that is asked for, for all sources at once."""

    type: str
    fetch: Callable[[RequestContext, Sequence[Any]], Awaitable[Sequence[Any]]]


Entry = Leaf | Part | Link | Asked


@dataclass(frozen=True, slots=True)
class Listed:
    """A page and how it is counted."""

    page: Page[Any]
    count: Callable[[RequestContext], Awaitable[int | None]]

    @property
    def edges(self) -> list[tuple[str, Any]]:
        """Rows with their cursors."""
        return list(zip(self.page.cursors, self.page.rows, strict=True))


def moment(name: str) -> Callable[[Any], Any]:
    """The encoder writes moments in UTC as the schema does; others are written here."""
    read = attrgetter(name)

    def text(source: Any) -> Any:
        value = read(source)
        return value if value.tzinfo is UTC else serialized_moment(value)

    return text


def opened(name: str, place: PersonalField) -> Callable[[RequestContext, Sequence[Any]], Awaitable[Sequence[Any]]]:
    """The readable form of a sealed field."""
    sealed = attrgetter("id", name)

    async def fetch(context: RequestContext, rows: Sequence[Any]) -> Sequence[Any]:
        tokens = [(person_id, place, token) for person_id, token in map(sealed, rows)]
        texts = await context.opened.many(tokens)
        return [texts[token] or ERASED for token in tokens]

    return fetch


async def counted(context: RequestContext, lists: Sequence[Listed]) -> Sequence[int | None]:
    """There is one list for each of a document's pages."""
    return [await listed.count(context) for listed in lists]


_ID: Final = Leaf("ID!", attrgetter("id"))
_SKU: Final = Leaf("String!", attrgetter("sku"))
_NAME: Final = Leaf("String!", attrgetter("name"))
_DESCRIPTION: Final = Leaf("String!", attrgetter("description"))
_VERSION: Final = Leaf("Int!", attrgetter("version"))


def _connection(node: str) -> dict[str, Entry]:
    return {
        "edges": Part(f"[{node}Edge!]!", attrgetter("edges")),
        "nodes": Part(f"[{node}!]!", attrgetter("page.rows")),
        "pageInfo": Part("PageInfo!", attrgetter("page.info")),
        "totalCount": Asked("Int", counted),
    }


def _edge(node: str) -> dict[str, Entry]:
    return {"cursor": Leaf("String!", itemgetter(0)), "node": Part(f"{node}!", itemgetter(1))}


TABLES: Final[dict[str, dict[str, Entry]]] = {
    "Money": {
        "amount": Leaf("Decimal!", lambda money: amount_text(*money)),
        "currency": Leaf("CurrencyCode!", itemgetter(1)),
        "minorUnits": Leaf("Int!", itemgetter(0)),
    },
    "PageInfo": {
        "hasNextPage": Leaf("Boolean!", attrgetter("has_next_page")),
        "hasPreviousPage": Leaf("Boolean!", attrgetter("has_previous_page")),
        "startCursor": Leaf("String", attrgetter("start_cursor")),
        "endCursor": Leaf("String", attrgetter("end_cursor")),
    },
    "OrderConnection": _connection("Order"),
    "OrderEdge": _edge("Order"),
    "Order": {
        "id": _ID,
        "number": Leaf("String!", attrgetter("number")),
        "status": Leaf("OrderStatus!", attrgetter("status")),
        "total": Part("Money!", attrgetter("total_minor", "currency")),
        "placedAt": Leaf("DateTime!", moment("placed_at")),
        "updatedAt": Leaf("DateTime!", moment("updated_at")),
        "rejectionReason": Leaf("String", lambda row: row.reason if row.status is OrderStatus.REJECTED else None),
        "trackingNumber": Leaf("String", attrgetter("tracking_number")),
        "version": _VERSION,
        "lines": Part("[OrderLine!]!", attrgetter("lines")),
        "customer": Link(
            "User",
            attrgetter("users"),
            lambda context, row: row.customer_id if context.may_see_of(row.customer_id) else None,
        ),
        "payment": Link("Payment", attrgetter("payments"), lambda _, row: payment_id(OrderId(row.id))),
    },
    "OrderLine": {
        "sku": _SKU,
        "name": _NAME,
        "quantity": Leaf("Int!", attrgetter("quantity")),
        "unitPrice": Part("Money!", attrgetter("unit_price.minor", "unit_price.currency")),
        "total": Part("Money!", lambda line: (line.unit_price.minor * line.quantity, line.unit_price.currency)),
        "product": Link("Product", attrgetter("products"), lambda _, line: line.product_id, may_see_product),
    },
    "Payment": {
        "id": _ID,
        "status": Leaf("PaymentStatus!", attrgetter("status")),
        "amount": Part("Money!", attrgetter("amount_minor", "currency")),
        "provider": Leaf("String!", attrgetter("provider")),
        "reference": Leaf("String", attrgetter("reference")),
    },
    "ProductConnection": _connection("Product"),
    "ProductEdge": _edge("Product"),
    "Product": {
        "id": _ID,
        "sku": _SKU,
        "name": _NAME,
        "description": _DESCRIPTION,
        "price": Part("Money!", attrgetter("price_minor", "currency")),
        "published": Leaf("Boolean!", attrgetter("published")),
        "version": _VERSION,
        "categories": Link("[Category!]!", attrgetter("categories"), lambda _, row: row.category_ids, is_shown),
        "stock": Link("StockItem", attrgetter("stock"), lambda _, row: stock_item_id(row.sku)),
    },
    "StockItem": {
        "id": _ID,
        "sku": _SKU,
        "onHand": Leaf("Int!", attrgetter("on_hand")),
        "reserved": Leaf("Int!", attrgetter("reserved")),
        "available": Leaf("Int!", lambda row: row.on_hand - row.reserved),
        "version": _VERSION,
    },
    "Category": {
        "id": _ID,
        "name": _NAME,
        "slug": Leaf("String!", attrgetter("slug")),
        "description": _DESCRIPTION,
        "version": _VERSION,
        "parent": Link("Category", attrgetter("categories"), lambda _, row: row.parent_id, is_shown),
    },
    "User": {
        "id": _ID,
        "roles": Leaf("[Role!]!", attrgetter("roles")),
        "createdAt": Leaf("DateTime!", moment("created_at")),
        "mfaEnabled": Leaf("Boolean!", attrgetter("mfa_enabled")),
        "version": _VERSION,
        "email": Asked("String!", opened("email_sealed", PersonalField.USER_EMAIL)),
        "name": Asked("String!", opened("name_sealed", PersonalField.USER_NAME)),
    },
}
