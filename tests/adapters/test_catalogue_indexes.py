"""The indexes that searches and pages of the catalogue read: every generation has them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from psycopg.sql import SQL

from adapters.schema import migrate
from adapters.wiring import Kontor
from domain.money import CURRENCIES, Money
from projections.catalogue import CATALOGUE
from tests.api.reading import MANY, found

pytestmark = pytest.mark.servers
_INDEXES = SQL("SELECT indexdef FROM pg_indexes WHERE tablename = %s")


async def indexes(kontor: Kontor, table: str) -> set[str]:
    """What the table's indexes are on, without their names."""
    return {re.sub(r".* USING ", "", row[0]) for row in await kontor.reads.fetch(_INDEXES, [table])}


async def test_prices_compare_as_the_amounts_that_are_shown(kontor: Kontor) -> None:
    codes = sorted(CURRENCIES)
    query = SQL("SELECT catalogue_amount(2550, code) FROM unnest(%s::text[]) WITH ORDINALITY AS u (code, n) ORDER BY n")
    rows = await kontor.reads.fetch(query, [codes])
    assert [row[0] for row in rows] == [Money(2550, code).amount * 1000 for code in codes]


async def test_every_generation_has_the_indexes(kontor: Kontor) -> None:
    first = await indexes(kontor, CATALOGUE.table)
    assert sum(each.startswith("gin") for each in first) == 3
    candidate = await kontor.reads.generations.begin(CATALOGUE)
    assert await indexes(kontor, candidate.table) == first
    # An installation from before there was a search.
    async with kontor.pool.connection() as connection:
        await connection.execute(
            "DROP FUNCTION catalogue_sku, catalogue_heads, catalogue_words, catalogue_amount CASCADE"
        )
        await connection.execute("DROP INDEX catalogue_v1_by_age, catalogue_v1_by_category")
        for (name,) in await kontor.reads.fetch(
            SQL("SELECT indexname FROM pg_indexes WHERE tablename = %s AND indexdef ~ '(category_ids|added_at)'"),
            [candidate.table],
        ):
            await connection.execute(f"DROP INDEX {name}".encode())
        await connection.execute("DELETE FROM migrations WHERE name = '0012_catalogue_search.sql'")
    assert await indexes(kontor, candidate.table) != first
    assert await migrate(kontor.settings.postgres_url) == ["0012_catalogue_search.sql"]
    assert await indexes(kontor, candidate.table) == first
    assert await indexes(kontor, CATALOGUE.table) == first


@pytest.mark.parametrize(
    ("index", "asked"),
    [
        ("by_words", {"search": "rare4711", "order": "NAME_ASC"}),
        ("by_heads", {"search": "rare4711"}),
        ("by_amount", {"order": "PRICE_DESC"}),
        ("by_amount", {"where": {"priceFrom": "40", "priceTo": "40.50"}, "order": "NAME_ASC"}),
        ("by_age", {"order": "NEWEST"}),
        ("by_name", {}),
    ],
)
async def test_pages_of_a_large_catalogue_read_an_index(kontor: Kontor, index: str, asked: dict[str, Any]) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute(MANY, [5_000])
        await connection.execute("ANALYZE catalogue_v1")
    query = SQL("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s")
    assert await kontor.reads.fetch(query, [f"catalogue_v1_{index}"]) == [(0,)]
    assert (await found(kontor, **asked))["nodes"]
    async with asyncio.timeout(60):  # sessions tell their figures a moment later
        while await kontor.reads.fetch(query, [f"catalogue_v1_{index}"]) == [(0,)]:
            await asyncio.sleep(0.05)
            await kontor.reads.fetch(SQL("SELECT pg_stat_force_next_flush()::text"), [])
