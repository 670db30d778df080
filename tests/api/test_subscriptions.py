"""Subscriptions over real WebSockets: nothing is lost and nothing comes twice, whoever is cut off when."""

from __future__ import annotations

import asyncio
import random
import socket
from uuid import UUID, uuid4

import psycopg
import pytest

from commands.catalogue import AddProduct, UpdateProduct
from commands.inventory import AdjustStock, ReserveOrders
from domain.identity import OrderId, ProductId, stock_item_id
from tests.api.following import (
    ANALYST,
    EVENTS,
    INTEGRATOR,
    ORDER,
    STOCK,
    Served,
    cancel,
    customer,
    placed,
    product,
    receive,
    serving,
    until,
)
from tests.given import GBP_2_55, STAFF, SYSTEM

pytestmark = pytest.mark.servers


async def versions_of(shop: Served, sku: str) -> list[int]:
    """The positions of what happened to the stock, from the log."""
    return [record.position for record in await shop.kontor.log.of_aggregate(stock_item_id(sku), limit=1_000)]


async def test_an_order_is_shown_as_it_is_and_then_at_every_change(shop: Served) -> None:
    ada = await customer(shop)
    order_id = await placed(shop, ada, await product(shop))
    async with shop.client(shop.token(ada)) as client:
        await client.subscribe(ORDER, id=order_id)
        present = await client.item()
        assert present["order"] == {"id": order_id, "status": "PENDING", "version": 1, "total": {"amount": "2.55"}}
        await shop.kontor.pipeline.execute(ReserveOrders(order_ids=(OrderId(UUID(order_id)),)), actor=SYSTEM)
        reserved = await client.item()
        assert (reserved["order"]["status"], reserved["order"]["version"]) == ("RESERVED", 2)
    await cancel(shop, ada, order_id)
    async with shop.client(shop.token(ada)) as client:
        await client.subscribe(ORDER, id=order_id, since=reserved["cursor"])
        cancelled = await client.item()
        assert cancelled["order"]["status"] == "CANCELLED"
        assert int(present["cursor"]) < int(reserved["cursor"]) < int(cancelled["cursor"])


async def test_whoever_is_cut_off_again_and_again_gets_every_change_once(shop: Served) -> None:
    sku = await product(shop)
    chance = random.Random(7)

    async def write() -> None:
        for _ in range(120):
            await receive(shop, sku)

    writing, cursors = asyncio.create_task(write()), list[str]()
    while not writing.done() or cursors[-1] != str((await versions_of(shop, sku))[-1]):
        async with shop.client() as client:
            await client.subscribe(STOCK, skus=[sku], since=cursors[-1] if cursors else "0")
            for _ in range(chance.randrange(1, 20)):
                item = await client.item()
                cursors.append(item["cursor"])
                if writing.done() and item["cursor"] == str((await versions_of(shop, sku))[-1]):
                    break
            client.drop()
    assert cursors == [str(position) for position in await versions_of(shop, sku)]


async def test_an_item_is_never_older_than_its_cursor(shop: Served) -> None:
    sku = await product(shop, units=1)
    async with shop.client() as client:
        await client.subscribe(STOCK, skus=[sku])
        items = [await client.item()]
        writing = asyncio.gather(*[receive(shop, sku) for _ in range(30)])
        items += [await client.item() for _ in range(30)]
        await writing
    positions = await versions_of(shop, sku)
    for item in items[1:]:
        assert item["stockItem"]["version"] >= positions.index(int(item["cursor"])) + 1
        assert item["stockItem"]["onHand"] == item["stockItem"]["version"] - 1
    assert items[-1]["stockItem"]["onHand"] == 31


async def test_stock_is_shown_for_all_or_for_some_and_as_soon_as_there_is_any(shop: Served) -> None:
    some, other, none_yet = await product(shop), await product(shop, units=2), await product(shop, units=0)
    async with shop.client() as client:
        await client.subscribe(STOCK, skus=[some, none_yet])
        assert (await client.item())["stockItem"] == {"sku": some, "onHand": 5, "version": 2}
        await receive(shop, other)
        await receive(shop, none_yet, 3)
        appeared = [(await client.item())["stockItem"] for _ in range(2)]
        assert {item["sku"] for item in appeared} == {none_yet}
        assert appeared[-1]["onHand"] == 3
    async with shop.client() as client:
        await client.subscribe(STOCK)  # no view has a row here: the log has everything
        shown: dict[str, int] = {}
        while len(shown) < 3 or shown[none_yet] != 3:
            item = (await client.item())["stockItem"]
            shown |= {item["sku"]: item["onHand"]} if item["sku"] in (some, other, none_yet) else {}
        assert shown == {some: 5, other: 3, none_yet: 3}


async def test_events_are_chosen_by_type_and_aggregate_and_stay_sealed(shop: Served) -> None:
    before = str(await shop.kontor.log.end())
    ada = await customer(shop)
    sku = await product(shop)
    order_id = await placed(shop, ada, sku)
    async with shop.client(shop.token(ANALYST)) as client:
        await client.subscribe(EVENTS, types=["user.registered", "order.placed"], since=before)
        registered, of_order = await client.item(), await client.item()
        assert (registered["type"], of_order["type"]) == ("user.registered", "order.placed")
        assert registered["aggregateId"] == str(ada.user_id)
        assert "Ada" not in str(registered["data"])
        assert of_order["data"]["lines"][0]["sku"] == sku
    async with shop.client(shop.token(INTEGRATOR)) as client:
        await client.subscribe(EVENTS, id=order_id)  # from now on
        await until(lambda: is_followed(shop))
        await cancel(shop, ada, order_id)
        cancelled = await client.item()
        assert (cancelled["type"], cancelled["version"]) == ("order.cancelled", 2)
        assert cancelled["actor"] == f"user:{ada.user_id}"


async def is_followed(shop: Served) -> bool:
    return shop.kontor.tail.followers > 0


async def test_only_its_customer_and_staff_follow_an_order_and_others_learn_nothing(shop: Served) -> None:
    ada, eve = await customer(shop), await customer(shop)
    order_id, missing = await placed(shop, ada, await product(shop)), str(uuid4())
    async with shop.client(shop.token(eve)) as client:
        foreign, nothing = await client.refused(ORDER, id=order_id), await client.refused(ORDER, id=missing)
        assert foreign["message"].replace(order_id, "") == nothing["message"].replace(missing, "")
        assert foreign["extensions"] == nothing["extensions"] == {"code": "NOT_FOUND"}
        assert await client.refused(ORDER, id=order_id, since="0") == foreign
        assert (await client.refused(EVENTS))["extensions"]["code"] == "FORBIDDEN"
    async with shop.client() as client:
        assert (await client.refused(ORDER, id=order_id))["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await client.refused(EVENTS))["extensions"]["code"] == "UNAUTHENTICATED"
    async with shop.client(shop.token(STAFF)) as client:
        await client.subscribe(ORDER, id=order_id)
        assert (await client.item())["order"]["id"] == order_id


async def test_what_cannot_be_followed_is_refused_with_a_sentence(shop: Served) -> None:
    end = await shop.kontor.log.end()
    async with shop.client(shop.token(STAFF)) as client:
        for bad in ("x", "-1", "9" * 30):
            assert "no position in the log" in (await client.refused(STOCK, since=bad))["message"]
        assert "no cursor of this log" in (await client.refused(STOCK, since=str(end + 1_000)))["message"]
        assert "101 SKUs" in (await client.refused(STOCK, skus=["A"] * 101))["message"]
        assert "0 SKUs" in (await client.refused(STOCK, skus=[]))["message"]
        assert "'order.eaten'" in (await client.refused(EVENTS, types=["order.eaten"]))["message"]
        assert "give a UUID" in (await client.refused(EVENTS, id="x"))["message"]


async def test_one_who_takes_too_little_is_told_where_to_go_on_and_the_others_are_not_held_up(shop: Served) -> None:
    before = await shop.kontor.log.end()
    outcome = await shop.kontor.pipeline.execute(AddProduct(sku="WORDY", name="Wordy", price=GBP_2_55), actor=SYSTEM)
    wordy = ProductId(outcome.aggregate_id)
    async with serving(shop.kontor, records_max=10, send_buffer=4_096) as small:
        reading = socket.create_connection(("127.0.0.1", small.port))
        reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reading.setblocking(False)
        token = small.token(ANALYST)
        async with small.client(token, sock=reading, max_queue=1) as slow, small.client(token) as quick:
            for client in (slow, quick):
                await client.subscribe(EVENTS, id=str(wordy), since=str(before))
            taken = [(await quick.item())["position"]]
            for n in range(60):
                told = UpdateProduct(product_id=wordy, description=f"{n} " + "x" * 9_000)
                await shop.kontor.pipeline.execute(told, actor=SYSTEM)
                taken.append((await quick.item())["position"])
            seen = []
            while (message := await slow.heard())["payload"]["data"] is not None:
                seen.append(message["payload"]["data"]["events"]["position"])
            (error,) = message["payload"]["errors"]
            assert error["extensions"] == {"code": "RESYNC", "cursor": seen[-1]}
            assert (await slow.heard())["type"] == "complete"
            assert seen == taken[: len(seen)]
            assert len(seen) < len(taken)
            await slow.subscribe(EVENTS, id=str(wordy), since=seen[-1])
            assert [(await slow.item())["position"] for _ in taken[len(seen) :]] == taken[len(seen) :]


async def test_the_log_is_followed_on_after_its_connections_were_cut(shop: Served) -> None:
    sku = await product(shop)
    async with shop.client() as client, shop.client(shop.token(STAFF)) as staff:
        await client.subscribe(STOCK, skus=[sku])
        await client.item()
        await staff.subscribe(EVENTS, types=["stock.received"])
        for only in ("AND application_name = 'kontor.log-tail'", ""):
            await cut(shop, only)
            positions = [await until_stored(shop, sku) for _ in range(3)]
            assert [int((await client.item())["cursor"]) for _ in positions] == positions
            assert [int((await staff.item())["position"]) for _ in positions] == positions


async def cut(shop: Served, only: str) -> None:
    """End every connection of the installation, or only some, as a restarted server does."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    query += " AND pid <> pg_backend_pid() "
    async with await psycopg.AsyncConnection.connect(shop.kontor.settings.postgres_url, autocommit=True) as admin:
        assert (await admin.execute((query + only).encode())).rowcount > 0


async def until_stored(shop: Served, sku: str) -> int:
    while True:
        try:
            return await receive(shop, sku)
        except (psycopg.Error, OSError):
            await asyncio.sleep(0.1)


async def test_adjusted_stock_is_followed_too(shop: Served) -> None:
    sku = await product(shop)
    async with shop.client() as client:
        await client.subscribe(STOCK, skus=[sku])
        assert (await client.item())["stockItem"]["onHand"] == 5
        await shop.kontor.pipeline.execute(AdjustStock(sku=sku, on_hand=2, reason="counted"), actor=SYSTEM)
        assert (await client.item())["stockItem"]["onHand"] == 2
