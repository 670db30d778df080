"""The WebSocket itself: who may connect, for how long, what is refused, and that nothing is left of who is gone."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from adapters.metrics import SOCKETS
from api.graphql.sockets import MESSAGE_BYTES_MAX, SocketLimits
from tests.api.following import (
    EVENTS,
    ORDER,
    STOCK,
    Client,
    Served,
    cancel,
    customer,
    placed,
    product,
    receive,
    serving,
    until,
)
from tests.given import STAFF

pytestmark = pytest.mark.servers

A_FEW = 5  # tasks that come and go, as those that wait
CONNECTIONS = int(os.environ.get("CONNECTIONS", "200"))


async def test_a_connection_is_closed_when_its_token_expires_and_goes_on_with_a_new_one(shop: Served) -> None:
    ada = await customer(shop)
    order_id = await placed(shop, ada, await product(shop))
    async with shop.client(shop.token(ada, good_for_s=8)) as client:
        await client.subscribe(ORDER, id=order_id)
        cursor = (await client.item())["cursor"]
        assert await client.closed() == 4403
    await cancel(shop, ada, order_id)
    async with shop.client(shop.token(ada)) as client:
        await client.subscribe(ORDER, id=order_id, since=cursor)
        assert (await client.item())["order"]["status"] == "CANCELLED"


@pytest.mark.parametrize("payload", [{"authorization": "Bearer nope"}, {"Authorization": ""}, {"authorization": [1]}])
async def test_a_token_that_is_not_good_is_refused_at_the_door(shop: Served, payload: dict[str, Any]) -> None:
    async with shop.socket() as ws:
        client = Client(ws)
        await client.say(type="connection_init", payload=payload)
        assert await client.closed() == 4403


async def test_the_header_says_who_it_is_when_the_payload_does_not(shop: Served) -> None:
    async with shop.client(additional_headers={"Authorization": f"Bearer {shop.token(STAFF)}"}) as client:
        await client.subscribe(EVENTS, since=str(await shop.kontor.log.end() - 1))
        assert await client.item()
    async with shop.socket(additional_headers={"Authorization": "Bearer nope"}) as ws:
        client = Client(ws)
        await client.say(type="connection_init")
        assert await client.closed() == 4403


MALFORMED = [
    ("[]", 4400),
    ("{", 4400),
    ('{"type": "start"}', 4400),
    ('{"type": "subscribe", "id": [], "payload": {"query": ""}}', 4400),
    ('{"type": "subscribe", "id": "1", "payload": {"query": 1}}', 4400),
    ('{"type": "subscribe", "id": "1", "payload": {"query": "subscription { events { id } }"}}', 4401),
    (b"{}", 4400),
    ("[" * 60_000, 4400),
    ("x" * (MESSAGE_BYTES_MAX + 1), 1009),
]


@pytest.mark.parametrize(("message", "code"), MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_not_of_the_protocol_ends_the_connection(shop: Served, message: Any, code: int) -> None:
    async with shop.socket() as ws:
        await ws.send(message)
        assert await Client(ws).closed() == code


async def test_only_the_present_protocol_and_known_origins_connect(shop: Served) -> None:
    async with shop.socket(subprotocols=["graphql-ws"]) as ws:
        assert await Client(ws).closed() == 4406
    for origin in ("https://elsewhere.example", "null", f"http://127.0.0.1:{shop.port + 1}"):
        with pytest.raises(InvalidStatus) as refused:
            await shop.socket(origin=origin)
        assert refused.value.response.status_code == 403
    for origin in ("https://shop.example", f"http://127.0.0.1:{shop.port}"):
        async with shop.client(origin=origin) as client:
            await client.subscribe(STOCK, skus=[await product(shop)])
            assert await client.item()


async def test_a_document_is_as_limited_as_over_http(shop: Served) -> None:
    deep = "product { stock { id } categories {" + " parent {" * 12 + " id" + " }" * 12 + " } }"
    async with shop.client(shop.token(STAFF)) as client:
        order = "subscription { orderChanged(orderId: 1) { order { %s } } }"
        refusals = [
            (order % f"lines {{ {deep} }}", "levels"),
            (order % " ".join(f"a{n}: id" for n in range(31)), "aliases"),
            (order % ("id " * 3_000), "token"),
            ("subscription { a: events { id } b: events { id } }", "only one"),
            ("subscription {", "Syntax Error"),
            ("subscription { eggs }", "eggs"),
            ("query { views { name } }", "POST"),
            ("mutation { signOut(sessionId: 1) { ok } }", "POST"),
        ]
        for document, word in refusals:
            assert word.lower() in (await client.refused(document))["message"].lower()


async def test_subscriptions_are_not_served_over_http(shop: Served) -> None:
    url = f"http://127.0.0.1:{shop.port}/graphql"
    async with aiohttp.ClientSession() as http:
        for accept in ("application/json", "text/event-stream", "multipart/mixed;subscriptionSpec=1.0"):
            body = {"query": "subscription { events { id } }"}
            async with http.post(url, json=body, headers={"Accept": accept}) as answer:
                assert "WebSocket" in (await answer.json())["errors"][0]["message"]


async def test_connections_and_subscriptions_are_limited_and_a_silent_client_is_let_go(shop: Served) -> None:
    limits = SocketLimits(connections_max=2, subscriptions_max=3, init_wait_s=0.5)
    sku = await product(shop)
    async with serving(shop.kontor, limits) as small, small.client() as client:
        for _ in range(3):
            await client.subscribe(STOCK, skus=[sku])
            await client.item()
        assert "limit" in (await client.refused(STOCK, skus=[sku]))["message"]
        await client.say(type="complete", id="1")
        await client.subscribe(STOCK, skus=[sku])
        assert await client.item()
        async with small.socket() as silent:
            with pytest.raises(InvalidStatus) as refused:
                await small.socket()
            assert refused.value.response.status_code == 503
            assert await Client(silent).closed() == 4408
        async with small.client():
            pass


async def test_one_address_leaves_connections_to_others_and_gets_its_own_back(shop: Served) -> None:
    behind = shop.kontor.settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
    limits = SocketLimits(connections_max=4, per_address_max=2)
    ada, bob = ({"additional_headers": {"X-Forwarded-For": address}} for address in ("192.0.2.1", "192.0.2.2"))
    held = []
    async with serving(replace(shop.kontor, settings=behind), limits) as small:
        for who in (ada, bob):
            held += [await small.socket(**who) for _ in range(2)]
            with pytest.raises(InvalidStatus) as refused:
                await small.socket(**who)
            answer = refused.value.response
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        await held[-1].close()

        async def has_room() -> bool:
            with suppress(InvalidStatus):
                held.append(await small.socket(**bob))
            return len(held) == 5

        await until(has_room)
        with pytest.raises(InvalidStatus) as full:
            await small.socket()
        assert full.value.response.status_code == 503


async def test_many_that_are_dropped_without_a_word_leave_nothing(shop: Served) -> None:
    await followed_and_dropped(shop, 10)  # whatever is made once is there
    before = standing(shop)
    await followed_and_dropped(shop, CONNECTIONS)
    await until(lambda: back_to(shop, before))
    assert await scraped(shop) == (0, 0)


async def followed_and_dropped(shop: Served, connections: int) -> None:
    """So many follow a SKU, get its next change, and vanish."""
    sku, at_once = await product(shop), asyncio.Semaphore(50)

    async def follow() -> Client:
        async with at_once:
            client = Client(await shop.socket(ping_interval=None))
            await client.say(type="connection_init")
            await client.heard()
            await client.subscribe(STOCK, skus=[sku])
            await client.item()
            return client

    clients = await asyncio.gather(*[follow() for _ in range(connections)])
    await until(lambda: all_follow(shop, connections))
    assert await database_connections(shop) < 20
    position = await receive(shop, sku)
    assert {int((await client.item())["cursor"]) for client in clients} == {position}
    for client in clients:
        client.drop()
    await asyncio.gather(*[client.closed() for client in clients])
    await until(lambda: idle(shop))


async def all_follow(shop: Served, connections: int) -> bool:
    return shop.kontor.tail.followers == connections and await scraped(shop) == (connections, connections)


async def idle(shop: Served) -> bool:
    return shop.kontor.tail.followers == 0 and SOCKETS._value.get() == 0


async def back_to(shop: Served, before: tuple[int, int]) -> bool:
    return all(now <= then + A_FEW for now, then in zip(standing(shop), before, strict=True))


def standing(shop: Served) -> tuple[int, int]:
    """Tasks and open files; but for the connections of the pools, which keep them."""
    files = len(list(Path("/dev/fd").iterdir()))
    redis = shop.kontor.redis.connection_pool
    pooled = len(redis._available_connections) + len(redis._in_use_connections)
    return len(asyncio.all_tasks()), files - pooled - shop.kontor.pool.get_stats()["pool_size"]


async def scraped(shop: Served) -> tuple[int, int]:
    """Open connections and subscriptions, as operators see them."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{shop.port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    figures = dict(line.rsplit(" ", 1) for line in lines if line.startswith(("kontor_websockets", "kontor_subscrip")))
    return int(float(figures["kontor_websockets"])), int(float(figures['kontor_subscriptions{field="stockChanged"}']))


async def database_connections(shop: Served) -> int:
    async with shop.kontor.pool.connection() as connection:
        found = await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        row = await found.fetchone()
    assert row is not None
    return int(row[0])


async def test_a_stopping_api_says_so_and_ends_in_time(shop: Served) -> None:
    sku = await product(shop)
    async with serving(shop.kontor, send_buffer=4_096) as stopping:
        clients = []
        for _ in range(20):
            client = Client(await stopping.socket())
            await client.say(type="connection_init")
            await client.heard()
            await client.subscribe(STOCK, skus=[sku])
            await client.item()
            clients.append(client)
        stopping.server.should_exit = True
        assert {await client.closed() for client in clients} <= {1001, 1012}
        async with asyncio.timeout(60):
            while stopping.server.server_state.connections or stopping.kontor.tail.followers:
                await asyncio.sleep(0.05)
        with pytest.raises((ConnectionClosed, OSError)):
            await stopping.socket(open_timeout=5)
