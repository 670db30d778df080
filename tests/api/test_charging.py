"""What is found out on the way is charged, too: events that are folded, items that are followed, input of no shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL

from adapters import past as adapters_past
from adapters.wiring import Kontor
from api.graphql import charging
from api.graphql.cost import MUTATION
from commands.handling import Actor
from commands.inventory import ReceiveStock
from domain.identity import stock_item_id
from domain.users import Role
from projections.inventory import STOCK, StockRow
from tests.api import following, selling
from tests.api.served import Served, codes, served
from tests.conftest import Stack, installation_on
from tests.given import STAFF

pytestmark = pytest.mark.servers
BURST = 400
PAST = 'query($v: Int) { stockItem(sku: "MUG", atVersion: $v) { onHand version } }'
LATEST = 'query($at: DateTime) { stockItem(sku: "MUG", asOf: $at) { version } }'


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Served]:
    """Few points, which hardly come back."""
    async with installation_on(stack) as settings, served(settings, cost_burst=BURST, cost_restore_per_s=1) as made:
        yield made


@pytest.fixture(scope="module")
async def versions(api: Served) -> int:
    """How many the stock of MUG has."""
    await _product(api.kontor, "MUG")
    for _ in range(120):
        await api.kontor.pipeline.execute(ReceiveStock(sku="MUG", quantity=1), actor=STAFF)
    return await api.kontor.log.last_version(stock_item_id("MUG"))


async def _product(kontor: Kontor, sku: str) -> None:
    await selling.product(kontor, sku)


async def spent(api: Served, document: str, token: str, **variables: Any) -> tuple[Any, int]:
    """The answer and what it has cost."""
    answer = await api.ask(document, token, variables=variables)
    return answer, answer["extensions"]["cost"]["requested"]


async def test_the_past_is_charged_by_the_events_it_reads_from_the_nearest_row_that_was_kept(
    api: Served, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters_past, "EVENTS_A_READ", 50)
    token = api.token(uuid4(), Role.STAFF)
    answer, cost = await spent(api, PAST, token, v=versions)
    assert answer["data"]["stockItem"] == {"onHand": 120, "version": versions}
    assert cost == 1 + -(-versions // charging.EVENTS_A_POINT)
    again, cheaper = await spent(api, PAST, token, v=versions)
    assert again["data"] == answer["data"]
    assert cheaper == 1 + -(-(versions - 100) // charging.EVENTS_A_POINT)
    nothing, least = await spent(api, PAST, token, v=versions + 1)
    assert (nothing["data"]["stockItem"], least) == (None, 1)


async def test_a_kept_row_of_other_code_is_not_read(api: Served, versions: int) -> None:
    token = api.token(uuid4(), Role.STAFF)
    await api.kontor.past_rows.keep(STOCK, _row(60))
    async with api.kontor.pool.connection() as connection:
        await connection.execute("UPDATE past_rows SET shape = 'of before', state = '{}'")
    answer, cost = await spent(api, PAST, token, v=70)
    assert answer["data"]["stockItem"]["onHand"] == 69
    assert cost == 1 + 7
    async with api.kontor.pool.connection() as connection:
        await connection.execute("DELETE FROM past_rows")


def _row(version: int) -> StockRow:
    return StockRow(id=stock_item_id("MUG"), sku="MUG", on_hand=version - 1, version=version, position=1)


async def test_the_past_is_refused_before_it_is_read_when_there_are_not_enough_points(
    api: Served, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = uuid4()
    assert (await api.kontor.cost_buckets.take(f"user:{user}", BURST - 8)).granted
    read: list[UUID] = []
    of_aggregate = api.kontor.log.of_aggregate

    async def noted(aggregate_id: UUID, **more: Any) -> Any:
        read.append(aggregate_id)
        return await of_aggregate(aggregate_id, **more)

    monkeypatch.setattr(api.kontor.log, "of_aggregate", noted)
    answer, _ = await spent(api, PAST, api.token(user, Role.CUSTOMER), v=versions)
    assert codes(answer) == ["COST_LIMIT_EXCEEDED"]
    assert f"reads {versions} events" in answer["errors"][0]["message"]
    assert answer["errors"][0]["extensions"]["retryAfterSeconds"] > 0
    assert not read


async def test_aliases_of_the_past_are_charged_each_and_bounded_together(
    api: Served, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charging, "EVENTS_MAX", 100)
    fields = " ".join(f'a{n}: stockItem(sku: "MUG", atVersion: {51 + n}) {{ version }}' for n in range(3))
    answer, cost = await spent(api, f"{{ {fields} }}", api.token(uuid4(), Role.CUSTOMER))
    assert cost == 3 + 6  # one is folded; the others would be more than one operation may
    assert codes(answer) == ["INVALID", "INVALID"]
    assert "one may read 100" in answer["errors"][0]["message"]


async def test_input_over_rest_that_fits_no_schema_takes_points(api: Served) -> None:
    user = uuid4()
    assert (await api.kontor.cost_buckets.take(f"user:{user}", BURST - 2 * MUTATION)).granted
    headers = {"Authorization": f"Bearer {api.token(user, Role.STAFF)}"}
    statuses = [
        (await api.post("/v1/commands/add-product", body, headers))[0] for body in ("{}", '{"sku": 1}', "{", "[[[[")
    ]
    assert statuses[:2] == [422, 422]
    assert statuses[2:] == [429, 429]


async def test_a_network_of_ipv6_is_no_new_bucket_for_each_of_its_parts(stack: Stack) -> None:
    async with (
        installation_on(stack) as settings,
        served(
            settings, cost_burst=20, cost_restore_per_s=1, trusted_proxies="127.0.0.1", response_cache_bytes=0
        ) as api,
    ):
        answers = [
            await api.ask("{ products(first: 19) { nodes { id } } }", headers={"X-Forwarded-For": f"2001:db8:0:{n}::1"})
            for n in range(8)
        ]
        refused = [codes(each) for each in answers]
        assert refused[:4] == [[]] * 4
        assert ["COST_LIMIT_EXCEEDED"] in refused


async def items(client: following.Client, most: int, *, within_s: float) -> int:
    """How many come in that time."""
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for _ in range(most):
                await client.item()
                taken += 1
    return taken


async def test_followers_are_charged_for_every_item(stack: Stack) -> None:
    """Whoever has no points waits for some, and is not served for nothing."""
    async with (
        installation_on(stack) as settings,
        served(settings, cost_burst=30, cost_restore_per_s=1) as api,
        following.serving(api.kontor) as shop,
    ):
        sku = await following.product(shop)
        token = shop.token(await following.customer(shop))
        async with shop.client(token) as client:
            await client.subscribe(following.STOCK, skus=[sku])
            await client.item()
            for _ in range(40):
                await following.receive(shop, sku)
            for _ in range(10):
                await client.item()
            assert await items(client, 30, within_s=3) < 30, "no follower has more items than points"


async def test_all_stock_is_charged_by_its_rows(stack: Stack) -> None:
    async with (
        installation_on(stack) as settings,
        served(settings, cost_burst=30, cost_restore_per_s=1) as api,
        following.serving(api.kontor) as shop,
    ):
        rows = [(uuid4(), f"S-{n}") for n in range(60)]
        table = api.kontor.reads.table(STOCK)
        async with api.kontor.pool.connection() as connection:
            for row_id, sku in rows:
                statement = SQL("INSERT INTO {} (id, sku, on_hand, reserved, version, position) VALUES (%s,%s,1,0,1,1)")
                await connection.execute(statement.format(table), [row_id, sku])
        async with shop.client(shop.token(Actor.user(uuid4(), [Role.STAFF]))) as client:
            await client.subscribe(following.STOCK)
            assert 0 < await items(client, 60, within_s=4) < 45


async def test_looking_through_the_log_is_charged_by_how_far_it_goes(
    api: Served, versions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.graphql.item_meter.READ_A_POINT", 1)
    async with following.serving(api.kontor) as shop, shop.client(shop.token(following.ANALYST)) as client:
        assert (await api.kontor.cost_buckets.take(f"user:{following.ANALYST.user_id}", BURST - 100)).granted
        refusal = await client.refused(following.EVENTS, types=["order.shipped"], since="0")
        assert refusal["extensions"]["code"] == "COST_LIMIT_EXCEEDED", json.dumps(refusal)
        assert "looks through" in refusal["message"]
