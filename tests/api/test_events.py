"""The log over GraphQL: who did what, page by page, without a hole."""

from __future__ import annotations

import asyncio
import random
from hashlib import md5
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL

from adapters.log import LogRecord
from adapters.wiring import Kontor
from commands.handling import ANONYMOUS, Actor
from commands.inventory import ReceiveStock, ReserveOrders
from domain.identity import OrderId, event_id, stock_item_id
from domain.users import Role
from tests.api.selling import answered, customer, placed, product, refused
from tests.api.test_road_of_one_order import (  # noqa: F401  # fixtures
    PLACE,
    Client,
    anyone,
    buyer,
    order_of,
    settled,
    sku,
    staff,
)
from tests.given import STAFF

pytestmark = pytest.mark.servers
ANALYST, INTEGRATOR = (Actor.user(uuid4(), [role]) for role in (Role.ANALYST, Role.INTEGRATOR))
EVENTS = """query($since: Cursor, $types: [String!], $a: ID, $c: ID, $by: String, $first: Int) {
  events(since: $since, types: $types, aggregateId: $a, correlationId: $c, actor: $by, first: $first) {
    edges { cursor node { id } }
    nodes { position id type schemaVersion aggregateType aggregateId version recordedAt actor correlationId
      causationId data }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
# A log of as many events as of ten thousand streams, types that are seldom, people and requests.
MANY = SQL(
    "INSERT INTO events (originator_id, originator_version, topic, state, context, shard, command_id, correlation_id,"
    " actor) SELECT md5('a' || n %% 10000)::uuid, n / 10000 + 1, CASE WHEN n %% 2000 = 0 THEN 'order.refunded' ELSE"
    " 'order.reserved' END, '{}', 'orders', n %% 12, md5('c' || n)::uuid, md5('r' || n / 5)::uuid,"
    " 'user:' || n %% 1000 FROM generate_series(0, %s) n"
)
READ_BY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("events_by_type", {"types": ["order.refunded"]}),
    ("events_by_type", {"types": ["order.refunded", "order.shipped"], "since": "12000"}),
    ("events_by_actor", {"by": "user:7"}),
    ("events_by_actor", {"by": "user:7", "types": ["order.reserved"]}),
    ("events_by_correlation", {"c": str(UUID(md5(b"r100").hexdigest()))}),
    ("events_pkey", {"a": str(UUID(md5(b"a77").hexdigest())), "since": "12000"}),
    ("events_by_position", {}),
)


async def some_history(kontor: Kontor) -> list[LogRecord]:
    """A log of several people, aggregates and requests."""
    ada = await customer(kontor)
    for each in ("MUG", "TIN"):
        await product(kontor, each, units=5)
    orders = [OrderId(await placed(kontor, ada, ("MUG", 1), ("TIN", n + 1))) for n in range(3)]
    await kontor.pipeline.execute(ReserveOrders(order_ids=tuple(orders)), actor=Actor.system("checkout"))
    return await kontor.log.after(0, limit=1_000)


async def pages(kontor: Kontor, size: int, **asked: Any) -> list[dict[str, Any]]:
    """Every event of a filter, read page by page."""
    nodes: list[dict[str, Any]] = []
    for _ in range(1_000):
        page = await answered(kontor, EVENTS, first=size, **asked)
        assert [(edge["cursor"], edge["node"]["id"]) for edge in page["edges"]] == [
            (node["position"], node["id"]) for node in page["nodes"]
        ]
        nodes += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return nodes
        asked["since"] = page["pageInfo"]["endCursor"]
    raise AssertionError("pages without end")


async def test_every_filter_gives_what_the_log_has_in_its_order(kontor: Kontor) -> None:
    whole, dice = await some_history(kontor), random.Random(7)
    assert len({record.actor for record in whole}) == 3
    for _ in range(60):
        one, since = dice.choice(whole), dice.choice([None, *whole])
        types = dice.choice([None, [one.event_type], [one.event_type, "order.placed"], []])
        a = dice.choice([None, None, one.aggregate_id])
        c = dice.choice([None, None, one.correlation_id])
        actor = dice.choice([None, one.actor])
        found = await pages(
            kontor,
            dice.randint(1, 7),
            since=since and str(since.position),
            types=types,
            a=a and str(a),
            c=c and str(c),
            by=actor,
        )
        assert [node["position"] for node in found] == [
            str(record.position)
            for record in whole
            if (since is None or record.position > since.position)
            and (types is None or record.event_type in types)
            and (a is None or record.aggregate_id == a)
            and (c is None or record.correlation_id == c)
            and (actor is None or record.actor == actor)
        ], (since, types, a, c, actor)


async def test_an_event_is_told_whole_and_what_is_personal_stays_sealed(kontor: Kontor) -> None:
    whole = await some_history(kontor)
    told = {node["position"]: node for node in await pages(kontor, 100)}
    assert len(told) == len(whole)
    for record in whole:
        node = told[str(record.position)]
        assert node["id"] == str(event_id(record.aggregate_id, record.version))
        assert (node["type"], node["actor"], node["version"]) == (record.event_type, record.actor, record.version)
        assert node["aggregateType"] == record.event_type.split(".")[0]
        assert node["correlationId"] == str(record.correlation_id)
    (registered,) = [node for node in told.values() if node["type"] == "user.registered"]
    assert "ada" not in str(registered).lower()


async def test_an_event_that_cannot_be_read_hides_no_other(kontor: Kontor) -> None:
    await product(kontor, "MUG", units=1)
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE events SET state = '{\"spoilt\": 1}' WHERE topic = 'stock.opened'")
        await connection.execute("UPDATE events SET state = 'no JSON' WHERE topic = 'product.added'")
    told = {node["type"]: node["data"] for node in await pages(kontor, 2)}
    assert told["stock.opened"] == {"spoilt": 1}
    assert told["product.added"] == "no JSON"
    assert told["stock.received"]["quantity"] == 1


async def test_who_may_read_the_log_and_who_may_not(kontor: Kontor) -> None:
    await product(kontor, "MUG", units=1)
    for actor in (STAFF, ANALYST, INTEGRATOR):
        assert (await answered(kontor, EVENTS, actor))["nodes"]
    assert "STAFF, ANALYST or INTEGRATOR" in await refused(kontor, EVENTS, Actor.user(uuid4(), [Role.CUSTOMER]))
    assert "Sign in" in await refused(kontor, EVENTS, ANONYMOUS)


async def test_what_cannot_be_asked_is_refused_with_a_sentence(kontor: Kontor) -> None:
    for asked, said in (
        ({"first": 0}, "first is 0"),
        ({"first": 101}, "1 to 100"),
        ({"since": "-1"}, "position"),
        ({"since": "9" * 19}, "position"),
        ({"since": "۳"}, "position"),
        ({"types": ["order.eaten"]}, "order.eaten"),
        ({"by": "a\0b"}, "control character"),
    ):
        assert said in await refused(kontor, EVENTS, **asked), asked
    await product(kontor, "MUG")
    for nothing in ({"a": "no id"}, {"c": str(uuid4())}, {"since": "9" * 18}, {"by": "user:nobody"}):
        assert (await answered(kontor, EVENTS, **nothing))["nodes"] == []


async def test_who_follows_the_log_while_it_is_written_misses_nothing(kontor: Kontor) -> None:
    """Pages of three, asked again and again while several write."""
    for each in ("A", "B", "C", "MUG"):
        await product(kontor, each)

    async def write(what: str) -> None:
        for _ in range(25):
            await kontor.pipeline.execute(ReceiveStock(sku=what, quantity=1), actor=STAFF)

    writers = asyncio.gather(*(write(each) for each in ("A", "B", "C", "MUG")))
    seen: list[str] = []
    while not writers.done() or await kontor.log.end() > int(seen[-1] if seen else 0):
        page = await answered(kontor, EVENTS, since=seen[-1] if seen else None, first=3)
        seen += [node["position"] for node in page["nodes"]]
    await writers
    assert seen == [str(record.position) for record in await kontor.log.after(0, limit=1_000)]
    versions = [node["version"] for node in await pages(kontor, 50, a=str(stock_item_id("MUG")))]
    assert versions == list(range(1, len(versions) + 1))


async def test_a_page_reads_little_more_than_it_shows(kontor: Kontor) -> None:
    """Of twenty thousand events: the one index that gives the page, and few rows of it."""
    rows = SQL("SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname = 'events'")
    scans = SQL("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s")
    flush = SQL("SELECT pg_stat_force_next_flush()::text")

    async def figure(query: SQL, *values: str) -> int:
        await kontor.reads.fetch(flush, [])
        ((found,),) = await kontor.reads.fetch(query, values)
        return int(found)

    async with kontor.pool.connection() as connection:
        await connection.execute(MANY, [19_999])
        await connection.execute("ANALYZE events")
    for index, asked in READ_BY:
        before, scanned = await figure(rows), await figure(scans, index)
        await answered(kontor, EVENTS, first=5, **asked)
        async with asyncio.timeout(60):  # sessions tell their figures a moment later
            while await figure(scans, index) == scanned:
                await asyncio.sleep(0.05)
        assert await figure(rows) - before < 200, (index, asked)


async def test_an_auditor_sees_who_did_what(buyer: Client, staff: Client, sku: str) -> None:  # noqa: F811  # fixtures
    receipt = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]["receipt"]
    await settled(buyer, receipt["aggregateId"])
    me = (await buyer("{ me { id } }"))["me"]["id"]
    found = (await staff(EVENTS, a=receipt["aggregateId"]))["events"]["nodes"]
    assert [(event["type"], event["actor"].partition(":")[0]) for event in found] == [
        ("order.placed", "user"),
        ("order.reserved", "system"),
        ("order.confirmed", "system"),
    ]
    assert found[0]["actor"] == f"user:{me}"
    assert found[0] in (await staff(EVENTS, c=found[0]["correlationId"]))["events"]["nodes"]
    assert (await staff(EVENTS, by=f"user:{me}", types=["order.placed"]))["events"]["nodes"] == found[:1]
    answer = await buyer.send(EVENTS)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
