"""Finding orders: by SKU, and in the order of their totals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from psycopg.sql import SQL

from adapters.schema import migrate
from adapters.wiring import Kontor
from domain.money import Money
from projections.orders import ORDERS
from tests.adapters.test_catalogue_indexes import indexes
from tests.api.reading import shown
from tests.api.selling import answered, customer, placed, product, refused
from tests.api.test_road_of_one_order import PLACE, Client, anyone, buyer, order_of, sku, staff  # noqa: F401  # fixtures

pytestmark = pytest.mark.servers
LIST = """query($where: OrderFilter, $by: OrderOrder, $first: Int, $after: String) {
  orders(where: $where, orderBy: $by, first: $first, after: $after) {
    nodes { id total { amount currency } } totalCount pageInfo { hasNextPage endCursor } } }"""
# Rows as they would be of as many orders of two products each, the first of them each order's own.
MANY = SQL(
    "INSERT INTO orders_v1 (id, number, status, customer_id, lines, total_minor, currency, placed_at, updated_at,"
    " version, position) SELECT md5('o' || n)::uuid, 'M' || n, 'CONFIRMED', md5('c' || n %% 50)::uuid,"
    " jsonb_build_array(order_line('M-' || n), order_line('ALL')), n, 'GBP',"
    " '2026-01-01'::timestamptz + n * interval '1 second', '2026-02-01', 1, n FROM generate_series(1, %s) n"
)
A_LINE = """CREATE FUNCTION order_line(sku text) RETURNS jsonb LANGUAGE sql RETURN jsonb_build_object('sku', sku,
  'product_id', md5(sku)::uuid, 'name', sku, 'quantity', 1,
  'unit_price', jsonb_build_object('minor', 1, 'currency', 'GBP'))"""


def amounts(page: dict[str, Any]) -> list[str]:
    return [f"{node['total']['amount']} {node['total']['currency']}" for node in page["nodes"]]


async def test_orders_are_found_by_what_was_ordered(kontor: Kontor) -> None:
    ada, bob = await customer(kontor, "ada"), await customer(kontor, "bob")
    for each in ("MUG", "TIN", "MUG-2"):
        await product(kontor, each)
    both = await placed(kontor, ada, ("TIN", 1), ("MUG", 2))
    bobs = await placed(kontor, bob, ("MUG", 1))
    await placed(kontor, ada, ("MUG-2", 1))
    await shown(kontor, ORDERS)

    async def found(actor: Any, **where: Any) -> list[str]:
        page = await answered(kontor, LIST, actor, where=where)
        assert page["totalCount"] == len(page["nodes"])
        return [node["id"] for node in page["nodes"]]

    assert await found(ada, sku=" MUG ") == [str(both)]
    assert await found(bob, sku="MUG") == [str(bobs)]
    assert await found(bob, sku="TIN") == await found(ada, sku="NONE") == await found(ada, sku="") == []
    assert await found(ada, sku="MUG", status=["REJECTED"]) == []
    assert "control character" in await refused(kontor, LIST, ada, where={"sku": "M\0"})


async def test_orders_are_paged_by_their_totals_whatever_the_currency(kontor: Kontor) -> None:
    ada = await customer(kontor)
    await product(kontor, "CUP", price=Money(255, "GBP"))
    await product(kontor, "BOWL", price=Money(600, "JPY"))
    for lines, currency in (
        ([("CUP", 2)], "GBP"),
        ([("BOWL", 1)], "JPY"),
        ([("CUP", 2)], "GBP"),
        ([("CUP", 1)], "GBP"),
    ):
        await placed(kontor, ada, *lines, currency=currency)
    await shown(kontor, ORDERS)
    whole = await answered(kontor, LIST, ada, by="TOTAL_DESC")
    assert amounts(whole) == ["600 JPY", "5.10 GBP", "5.10 GBP", "2.55 GBP"]
    nodes, after = [], None
    for more in (True, True, True, False):
        page = await answered(kontor, LIST, ada, by="TOTAL_DESC", first=1, after=after)
        assert page["pageInfo"]["hasNextPage"] is more
        nodes, after = [*nodes, *page["nodes"]], page["pageInfo"]["endCursor"]
    assert nodes == whole["nodes"]
    assert "cursor" in await refused(kontor, LIST, ada, by="PLACED_DESC", after=after)


@pytest.mark.parametrize(
    ("index", "asked"),
    [
        ("by_sku", {"where": {"sku": "M-4711"}}),
        ("by_sku", {"where": {"sku": "M-4711"}, "by": "TOTAL_DESC"}),
        ("by_total", {"by": "TOTAL_DESC"}),
    ],
)
async def test_pages_of_many_orders_read_an_index(kontor: Kontor, index: str, asked: dict[str, Any]) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute(A_LINE)
        await connection.execute(MANY, [5_000])
        await connection.execute("ANALYZE orders_v1")
    query = SQL("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s")
    assert await kontor.reads.fetch(query, [f"orders_v1_{index}"]) == [(0,)]
    assert (await answered(kontor, LIST, **asked))["nodes"]
    async with asyncio.timeout(60):  # sessions tell their figures a moment later
        while await kontor.reads.fetch(query, [f"orders_v1_{index}"]) == [(0,)]:
            await asyncio.sleep(0.05)
            await kontor.reads.fetch(SQL("SELECT pg_stat_force_next_flush()::text"), [])


async def test_generations_from_before_get_the_indexes(kontor: Kontor) -> None:
    first = await indexes(kontor, ORDERS.table)
    candidate = await kontor.reads.generations.begin(ORDERS)
    assert await indexes(kontor, candidate.table) == first
    async with kontor.pool.connection() as connection:
        for (name,) in await kontor.reads.fetch(
            SQL("SELECT indexname FROM pg_indexes WHERE tablename = ANY(%s) AND indexdef ~ '(jsonb|catalogue)'"),
            [[candidate.table, ORDERS.table]],
        ):
            await connection.execute(f"DROP INDEX {name}".encode())
        await connection.execute("DROP INDEX events_by_type, events_by_actor, events_by_correlation")
        await connection.execute("DELETE FROM migrations WHERE name LIKE '0017%'")
    assert await indexes(kontor, candidate.table) != first
    assert await migrate(kontor.settings.postgres_url) == ["0017_audit_and_order_lists.sql"]
    assert await indexes(kontor, candidate.table) == await indexes(kontor, ORDERS.table) == first


async def test_a_buyer_finds_the_own_order_by_its_sku(buyer: Client, sku: str) -> None:  # noqa: F811  # the fixtures
    receipt = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]["receipt"]
    fresh = {"Kontor-Consistent-With": receipt["token"], "Kontor-Require": "fresh", "Kontor-Wait-Ms": "5000"}
    page = (await buyer(LIST, fresh, where={"sku": sku}, by="TOTAL_DESC"))["orders"]
    assert [node["id"] for node in page["nodes"]] == [receipt["aggregateId"]]
