"""Facets: how the products that a search finds divide by category, price and availability.

Each leaves its own filter out, as shops do, so that it shows what else there is. All are counted in one pass over what
the search finds, at most FACETED_PRODUCTS_MAX products; for more there are none, rather than wrong ones.
"""

from __future__ import annotations

from typing import Final

import strawberry
from psycopg.sql import SQL

from api.graphql.context import RequestContext
from api.graphql.product_search import Clause, ProductSearch
from projections.categories import CATEGORIES
from projections.inventory import STOCK

FACETED_PRODUCTS_MAX: Final = 100_000
FACET_VALUES_MAX: Final = 100
# Where the ranges of prices begin, in major units; the last one has no end.
PRICES_FROM: Final = (0, 5, 10, 20, 50, 100, 200, 500, 1_000)
IN_STOCK, OUT_OF_STOCK = "in_stock", "out_of_stock"

# Products are counted by the set of their categories first: there are few such sets. `above` has every category with
# itself and those it is below; a circle of them ends where it began.
_FACETS: Final = SQL(
    "WITH RECURSIVE base AS MATERIALIZED ("
    "  SELECT t.category_ids, catalogue_amount(t.price_minor, t.currency) AS amount,"
    "   coalesce(stock.on_hand > stock.reserved, false) AS available,"
    "   {category} AS in_category, {price} AS in_price, {availability} AS in_availability"
    "  FROM {found} t LEFT JOIN {stock} stock ON stock.sku = t.sku WHERE {always} LIMIT %s"
    "), sets AS (SELECT category_ids, count(*) AS products FROM base WHERE in_price AND in_availability GROUP BY 1"
    "), above AS (SELECT id, id AS upper FROM {categories} WHERE NOT removed"
    "  UNION SELECT a.id, c.parent_id FROM above a JOIN {categories} c ON c.id = a.upper"
    "   JOIN {categories} p ON p.id = c.parent_id AND NOT p.removed"
    "), places AS (SELECT DISTINCT s.category_ids, s.products, a.upper"
    "  FROM sets s CROSS JOIN unnest(s.category_ids) AS u (id) JOIN above a ON a.id = u.id"
    ") SELECT 'products', '', count(*) FROM base"
    " UNION ALL (SELECT 'category', c.slug, sum(p.products)::bigint FROM places p JOIN {categories} c ON c.id = p.upper"
    "  GROUP BY c.slug ORDER BY 3 DESC, 2 LIMIT %s)"
    " UNION ALL (SELECT 'price', width_bucket(amount, %s::bigint[])::text, count(*) FROM base"
    "  WHERE in_category AND in_availability GROUP BY 2 ORDER BY 2)"
    " UNION ALL SELECT 'availability', %s, count(*) FILTER (WHERE available) FROM base WHERE in_category AND in_price"
    " UNION ALL SELECT 'availability', %s, count(*) FILTER (WHERE NOT available) FROM base"
    "  WHERE in_category AND in_price"
)


@strawberry.type(description="How many products there are with a value.")
class FacetValue:
    value: str = strawberry.field(
        description="A category's slug; prices as `from-to`, both for the filter, the last without `to`; "
        "`in_stock` or `out_of_stock`."
    )
    count: int = strawberry.field(description="Products with it, were the filter of this facet left out.")


@strawberry.type(description="How the products divide by one property.")
class Facet:
    name: str = strawberry.field(description="`category`, `price` or `availability`.")
    values: list[FacetValue] = strawberry.field(
        description="Categories: the most frequent 100, also by those below them. Prices: from the smallest."
    )


async def facets_of(context: RequestContext, search: ProductSearch) -> list[Facet]:
    """Category, price and availability; none of them above FACETED_PRODUCTS_MAX products before filters.

    Costs one pass over those products, however few the filters leave."""
    for view in (CATEGORIES, STOCK):
        await context.freshness.settle(view)
    reads = context.kontor.reads
    query = _FACETS.format(
        found=search.found.sql,
        stock=reads.table(STOCK),
        categories=reads.table(CATEGORIES),
        always=search.always.sql,
        **{name: clause.sql for name, clause in search.facets.items()},
    )
    parameters = (
        *_parameters(*search.facets.values(), search.found, search.always),
        FACETED_PRODUCTS_MAX + 1,
        FACET_VALUES_MAX,
        [1000 * price for price in PRICES_FROM],
        IN_STOCK,
        OUT_OF_STOCK,
    )
    counted: dict[str, list[FacetValue]] = {"category": [], "price": [], "availability": []}
    for name, value, count in await reads.fetch(query, parameters):
        if name == "products":
            if count > FACETED_PRODUCTS_MAX:
                return []
            continue
        counted[name].append(FacetValue(value=_prices(int(value)) if name == "price" else value, count=count))
    return [Facet(name=name, values=values) for name, values in counted.items()]


def _parameters(*clauses: Clause) -> list[object]:
    return [value for clause in clauses for value in clause.parameters]


def _prices(bucket: int) -> str:
    """The range as it can be passed on: amounts have at most three decimals."""
    start = PRICES_FROM[bucket - 1]
    return f"{start}-" if bucket == len(PRICES_FROM) else f"{start}-{PRICES_FROM[bucket] - 1}.999"
