"""Finding products: what a search, a filter and an order mean in SQL, for pages, counts and facets.

Words are found through expression indexes, see migration 0012. A word vector is never computed for a row that is read:
ranking by it would cost a tenth of a millisecond a match. So relevance is a tier, and the name within it: the SKU is
the text; SKU or name begin with it; the words stand in SKU or name; the words stand in the description too.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec
import strawberry
from psycopg.sql import SQL, Composed

from api.graphql.context import RequestContext
from api.graphql.cursors import COUNT_MAX, Page, decoded, page_of
from domain.catalogue import SLUG_LENGTH_MAX
from domain.errors import Invalid
from domain.identity import product_id
from domain.text import plain_text
from projections.catalogue import CATALOGUE, ProductRow
from projections.categories import CATEGORIES
from projections.inventory import STOCK

SKUS_MAX: Final = 100
SEARCH_LENGTH_MAX: Final = 200
BELOW_MAX: Final = 1_000  # categories that one filter looks into
# Products that a search ranks by their heads; so many ids are held in memory. Those beyond rank as by description.
NAMED_MAX: Final = 100_000
AMOUNT_MAX: Final = 2**62  # of thousandths; no product costs nearly as much

_BELOW: Final = SQL(
    "WITH RECURSIVE below AS ("
    " (SELECT id FROM {0} WHERE slug = %s AND NOT removed ORDER BY position DESC LIMIT 1)"
    " UNION SELECT c.id FROM {0} c JOIN below ON c.parent_id = below.id WHERE NOT c.removed"
    ") SELECT id FROM below LIMIT %s"
)
# OFFSET 0 keeps the planner from walking an index in the wanted order and computing the words of every row on its way,
# and has a rank computed once for its filter and its order.
_FOUND: Final = SQL("(SELECT * FROM {} WHERE catalogue_words(sku, name, description) @@ %s::tsquery OFFSET 0)")
_RANKED: Final = SQL(
    "(SELECT f.*, CASE WHEN lower(f.sku) = %s THEN 0"
    " WHEN starts_with(lower(f.sku), %s) OR starts_with(lower(f.name), %s) THEN 1"
    " WHEN f.id IN (SELECT h.id FROM {} h WHERE catalogue_heads(h.sku, h.name) @@ %s::tsquery LIMIT %s) THEN 2"
    " ELSE 3 END AS rank FROM {} f OFFSET 0)"
)
_PAGE: Final = SQL(
    "SELECT to_json(p)::text, {columns} FROM (SELECT *, {keys} FROM {source} t WHERE {condition}"
    " ORDER BY {order} LIMIT %s) p"
)
_AMOUNT: Final = SQL("catalogue_amount(price_minor, currency)")
_READ: Final = SQL("SELECT q::text, querytree(q) FROM (SELECT {} AS q) s")
_EVERYTHING: Final = "T"  # what PostgreSQL calls a query that no word of an index can answer
_ENGLISH: Final = SQL("websearch_to_tsquery('pg_catalog.english', %s)")
_ROW: Final = msgspec.json.Decoder(ProductRow)
_OR: Final = re.compile(r"(.*)\sor\s(.*)", re.IGNORECASE)


@strawberry.input(description="Which products.")
class ProductFilter:
    category_slug: str | None = strawberry.field(default=None, description="In this category, or one below it.")
    price_from: Decimal | None = strawberry.field(
        default=None, description="At this amount or more, whatever the currency."
    )
    price_to: Decimal | None = strawberry.field(
        default=None, description="At this amount or less, whatever the currency."
    )
    in_stock: bool | None = strawberry.field(
        default=None, description="True: those with units that can still be ordered. False: the others."
    )
    skus: list[str] | None = strawberry.field(default=None, description="These, at most 100.")


@strawberry.enum(description="In which order.")
class ProductOrder(Enum):
    RELEVANCE = strawberry.enum_value(
        "RELEVANCE", description="SKU before name before description; without a search, by name."
    )
    NAME_ASC = strawberry.enum_value("NAME_ASC", description="By name.")
    PRICE_ASC = strawberry.enum_value("PRICE_ASC", description="The smallest amount first.")
    PRICE_DESC = strawberry.enum_value("PRICE_DESC", description="The largest amount first.")
    NEWEST = strawberry.enum_value("NEWEST", description="What was added last first.")


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Keys before the id, which breaks ties; `cursor` is the type of what a cursor holds."""

    keys: tuple[SQL, ...]
    cursor: Any
    descending: bool = False


_SORTED: Final = {
    ProductOrder.RELEVANCE: _Sorted((SQL("rank"), SQL("name")), tuple[str, int, str, UUID]),
    ProductOrder.NAME_ASC: _Sorted((SQL("name"),), tuple[str, str, UUID]),
    ProductOrder.PRICE_ASC: _Sorted((_AMOUNT,), tuple[str, int, UUID]),
    ProductOrder.PRICE_DESC: _Sorted((_AMOUNT,), tuple[str, int, UUID], descending=True),
    ProductOrder.NEWEST: _Sorted((SQL("added_at"),), tuple[str, datetime, UUID], descending=True),
}


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of SQL and what its placeholders stand for."""

    sql: SQL | Composed
    parameters: tuple[Any, ...] = ()


def every(clauses: Iterable[Clause]) -> Clause:
    """All of them; true without any."""
    clauses = tuple(clauses)
    if not clauses:
        return Clause(SQL("true"))
    return Clause(
        SQL(" AND ").join(clause.sql for clause in clauses),
        tuple(value for clause in clauses for value in clause.parameters),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSearch:
    """What one list of products stands for. `words` is the text as PostgreSQL looks for it, `mark` what a cursor has
    of the list it belongs to; `facets` has the conditions by the facet that leaves them out."""

    text: str
    words: str
    order: ProductOrder
    always: Clause
    facets: dict[str, Clause]
    found: Clause
    mark: str

    @classmethod
    async def by(
        cls, context: RequestContext, search: str | None, where: ProductFilter | None, order_by: ProductOrder | None
    ) -> ProductSearch:
        """What is asked for and the actor may see, once the views that this needs are as fresh as asked.

        Raises Invalid for a text above SEARCH_LENGTH_MAX, with control characters or of exclusions alone, more than
        SKUS_MAX SKUs, a range of prices that is none. A category that does not exist has no products."""
        where = where or ProductFilter()
        text = plain_text(search or "", field="search", length_max=SEARCH_LENGTH_MAX, length_min=0)
        order = order_by or ProductOrder.RELEVANCE
        if order is ProductOrder.RELEVANCE and not text:
            order = ProductOrder.NAME_ASC
        always, price = _always(context, where), _price(where)
        await context.freshness.settle(CATALOGUE)
        facets = {"category": await _category(context, where), "price": price, "availability": Clause(SQL("true"))}
        if where.in_stock is not None:
            await context.freshness.settle(STOCK)
            facets["availability"] = _availability(context, in_stock=where.in_stock)
        words = await _words(context, text) if text else ""
        table = context.kontor.reads.table(CATALOGUE)
        found = Clause(_FOUND.format(table), (words,)) if text else Clause(SQL("{}").format(table))
        asked = [order.name, text, where.category_slug, where.price_from, where.price_to, where.in_stock, where.skus]
        mark = hashlib.blake2b(msgspec.json.encode(asked), digest_size=6).hexdigest()
        return cls(text=text, words=words, order=order, always=always, facets=facets, found=found, mark=mark)

    @property
    def condition(self) -> Clause:
        """Everything but the text, which `found` is about."""
        return every((self.always, *self.facets.values()))

    async def page(self, context: RequestContext, *, size: int, after: str | None) -> Page[ProductRow]:
        """Rows in order, by key. Raises Invalid for a cursor of another search, filter or order."""
        by = _SORTED[self.order]
        condition = every((self.condition, self._after(after)))
        source = self._source(context)
        direction = SQL("DESC" if by.descending else "ASC")
        names = [SQL(f"key{place}") for place in range(len(by.keys))]
        query = _PAGE.format(
            columns=SQL(", ").join([*names, SQL("p.id")]),
            keys=SQL(", ").join(SQL("{} AS {}").format(key, name) for key, name in zip(by.keys, names, strict=True)),
            source=source.sql,
            condition=condition.sql,
            order=SQL(", ").join(SQL("{} {}").format(key, direction) for key in (*by.keys, SQL("id"))),
        )
        rows = await context.kontor.reads.fetch(query, [*source.parameters, *condition.parameters, size + 1])
        products = [_ROW.decode(row[0]) for row in rows]
        return page_of(products, [(self.mark, *row[1:]) for row in rows], size=size, after=after)

    async def count(self, context: RequestContext) -> int | None:
        """How many there are; None above COUNT_MAX, where nobody waits for the exact number."""
        condition = self.condition
        query = SQL("SELECT count(*) FROM (SELECT FROM {} t WHERE {} LIMIT %s) n").format(self.found.sql, condition.sql)
        parameters = [*self.found.parameters, *condition.parameters, COUNT_MAX + 1]
        ((found,),) = await context.kontor.reads.fetch(query, parameters)
        return int(found) if found <= COUNT_MAX else None

    def _after(self, cursor: str | None) -> Clause:
        if cursor is None:
            return Clause(SQL("true"))
        by = _SORTED[self.order]
        mark, *keys = decoded(cursor, by.cursor)
        if mark != self.mark:
            raise Invalid(
                "This cursor is of another list of products; pass on `pageInfo.endCursor` with the search, filter and "
                "order that it came with, or leave `after` out to begin anew.",
                field=("after",),
            )
        places = SQL(", ").join([SQL("%s")] * len(keys))
        columns = SQL(", ").join([*by.keys, SQL("id")])
        comparison = SQL("({}) < ({})" if by.descending else "({}) > ({})")
        return Clause(comparison.format(columns, places), tuple(keys))

    def _source(self, context: RequestContext) -> Clause:
        if self.order is not ProductOrder.RELEVANCE:
            return self.found
        text = self.text.lower()
        return Clause(
            _RANKED.format(context.kontor.reads.table(CATALOGUE), self.found.sql),
            (text, text, text, self.words, NAMED_MAX, *self.found.parameters),
        )


async def _words(context: RequestContext, text: str) -> str:
    """The text as a tsquery; empty, which finds nothing, for punctuation alone."""
    query = query_of(text)
    ((words, tree),) = await context.kontor.reads.fetch(_READ.format(query.sql), query.parameters)
    if tree == _EVERYTHING:
        raise Invalid(
            f"The search {text!r} only says what to leave out; say what to look for too, like `mug -red`.",
            field=("search",),
        )
    return str(words)


def query_of(text: str) -> Clause:
    """The text as a tsquery, as people search the web: every word; `or`, `-word`, "these words together". The last word
    may be one that is still being typed, unless there are quotes or it is excluded; and the whole may be a SKU."""
    sku = Clause(SQL("%s::tsquery"), (_prefix(text.lower()),))
    before, last_part = match.groups() if (match := _OR.fullmatch(text)) else ("", text)
    *_, word = last_part.split() or [""]
    if '"' in text or word.startswith("-") or not word:
        return Clause(SQL("{} || {}").format(_ENGLISH, sku.sql), (text, *sku.parameters))
    rest = last_part.strip().removesuffix(word)
    return Clause(
        SQL("{0} || ({0} && ({0} || to_tsquery('pg_catalog.simple', %s))) || {1}").format(_ENGLISH, sku.sql),
        (before, rest, word, _prefix(word), *sku.parameters),
    )


def _prefix(word: str) -> str:
    """As the text of a tsquery: everything that begins with this, whatever characters it has."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}':*"


def _always(context: RequestContext, where: ProductFilter) -> Clause:
    clauses = [] if context.actor.is_staff else [Clause(SQL("published"))]
    if where.skus is not None:
        if len(where.skus) > SKUS_MAX:
            raise Invalid(f"{len(where.skus)} SKUs; give at most {SKUS_MAX}.", field=("where", "skus"))
        clauses.append(Clause(SQL("t.id = ANY(%s)"), ([product_id(sku.strip()) for sku in where.skus],)))
    return every(clauses)


def _price(where: ProductFilter) -> Clause:
    least, most = where.price_from, where.price_to
    if least is not None and most is not None and least > most:
        raise Invalid(
            f"priceFrom {least:f} is above priceTo {most:f}; give the smaller amount as priceFrom.",
            field=("where", "priceFrom"),
        )
    clauses = []
    if least is not None:
        clauses.append(Clause(SQL("{} >= %s::bigint").format(_AMOUNT), (_thousandths(math.ceil(least * 1000)),)))
    if most is not None:
        clauses.append(Clause(SQL("{} <= %s::bigint").format(_AMOUNT), (_thousandths(math.floor(most * 1000)),)))
    return every(clauses)


def _thousandths(amount: int) -> int:
    return max(-AMOUNT_MAX, min(amount, AMOUNT_MAX))


async def _category(context: RequestContext, where: ProductFilter) -> Clause:
    """In the category or one below it; a circle of categories ends where it began."""
    if where.category_slug is None:
        return Clause(SQL("true"))
    slug = plain_text(where.category_slug, field="categorySlug", length_max=SLUG_LENGTH_MAX, length_min=0)
    await context.freshness.settle(CATEGORIES)
    reads = context.kontor.reads
    rows = await reads.fetch(_BELOW.format(reads.table(CATEGORIES)), [slug, BELOW_MAX])
    return Clause(SQL("category_ids && %s::uuid[]"), ([row[0] for row in rows],))


def _availability(context: RequestContext, *, in_stock: bool) -> Clause:
    available = SQL("EXISTS (SELECT FROM {} s WHERE s.sku = t.sku AND s.on_hand > s.reserved)").format(
        context.kontor.reads.table(STOCK)
    )
    return Clause(available if in_stock else SQL("NOT {}").format(available))
