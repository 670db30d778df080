"""Givens about views that are read over GraphQL, on an installation without relay and worker."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL
from strawberry.types import ExecutionResult

from adapters.wiring import Kontor
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from commands.handling import ANONYMOUS, Actor
from domain.identity import SHARDS
from projections.catalogue import CATALOGUE
from projections.categories import CATEGORIES
from projections.inventory import STOCK
from projections.view import View
from streams.applying import Chain
from streams.views import Copier, view_follower

PRODUCTS = """query($search: String, $where: ProductFilter, $order: ProductOrder, $first: Int, $after: String,
    $token: ConsistencyToken) {
  products(search: $search, where: $where, orderBy: $order, first: $first, after: $after, consistentWith: $token) {
    nodes { id sku name price { amount currency } } totalCount pageInfo { hasNextPage endCursor }
    facets { name values { value count } } } }"""
# Rows as they would be of as many products, with a word of its own each; for what only size shows.
MANY = SQL(
    "INSERT INTO catalogue_v1 (id, sku, name, description, price_minor, currency, published, added_at, version,"
    " position) SELECT md5('p' || n)::uuid, 'M-' || n, 'Thing ' || n || ' rare' || n, 'for every kitchen', 100 + n,"
    " 'GBP', true, '2026-01-01'::timestamptz + n * interval '1 second', 1, n FROM generate_series(1, %s) n"
)


async def shown(kontor: Kontor, *views: View[Any]) -> None:
    """These views, or those about products, show everything that is in the log."""
    chain, copier = Chain(kontor.followers), Copier(kontor.reads, kontor.copies)
    end = await kontor.log.end()
    for view in views or (CATALOGUE, CATEGORIES, STOCK):
        for shard in range(SHARDS):
            (context,) = view.contexts
            await chain.refill(view_follower(kontor.reads.generations.live(view), copier), context, shard, until=end)


async def asked(kontor: Kontor, document: str, actor: Actor = ANONYMOUS, **variables: Any) -> ExecutionResult:
    """The answer of GraphQL, without HTTP."""
    context = RequestContext(kontor, actor=actor, freshness=Freshness(kontor.positions, kontor.reads, wait_ms=0))
    return await schema.execute(document, variable_values=variables, context_value=context)


async def found(kontor: Kontor, actor: Actor = ANONYMOUS, **variables: Any) -> dict[str, Any]:
    """The page of products."""
    answer = await asked(kontor, PRODUCTS, actor, **variables)
    assert answer.errors is None, answer.errors
    assert answer.data is not None
    return answer.data["products"]


def skus(page: dict[str, Any]) -> list[str]:
    return [node["sku"] for node in page["nodes"]]


def facet(page: dict[str, Any], name: str) -> dict[str, int]:
    (values,) = [each["values"] for each in page["facets"] if each["name"] == name]
    return {each["value"]: each["count"] for each in values}
