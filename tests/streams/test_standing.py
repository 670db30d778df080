"""Followers and the relay that stand past the log, and keys destroyed without an erasure: found, and set right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL

from adapters.schema import FOLLOWERS_BESIDE_VIEWS, followers
from adapters.wiring import Kontor
from commands.inventory import ReceiveStock
from commands.users import RegisterUser
from domain.disclosure import PersonalField
from domain.identity import shard_of, stock_item_id
from projections import VIEWS
from projections.inventory import STOCK
from streams import hash_chain, tail
from streams.applying import Chain
from streams.following import Follower
from streams.repairing import repair
from streams.standing import astray
from streams.verification import Verdict, verify_all
from streams.views import Copier, view_follower
from tests.given import PASSWORD, SYSTEM
from tests.streams.test_catching_up import Noting
from tests.streams.test_chain import ACTOR, on_hand, receive
from tests.streams.test_relay import caught_up, relay_of, relaying, until

pytestmark = pytest.mark.servers
FAR = 2**60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.verification.SETTLING_S_MAX", 0.1)
    monkeypatch.setattr("streams.relay.LOOK_S", 0.5)
    monkeypatch.setattr("streams.tail.LOOK_S", 0.1)
    monkeypatch.setattr("streams.patience.STRAY_PATIENCE_S", 0.3)
    monkeypatch.setattr("streams.patience.JOINING_PATIENCE_S", 0.3)


@pytest.fixture
async def followed(kontor: Kontor, topics: None) -> AsyncIterator[dict[str, Noting]]:
    """A relay, and whatever follows the log, refilled from it; those beside the views note what they are given."""
    chain = Chain(kontor.followers)
    copier = Copier(kontor.reads, kontor.copies)
    by_name: dict[str, Follower] = {view.table: view_follower(view, copier) for view in VIEWS.values()}
    noting = {name: Noting() for name in FOLLOWERS_BESIDE_VIEWS}
    for name, each in noting.items():
        by_name[name] = Follower(name=name, follows=None, apply=each.apply)

    def all_of_them() -> Mapping[str, Follower]:
        return by_name

    tasks = [
        asyncio.create_task(relay_of(kontor).run()),
        asyncio.create_task(tail.watch(kontor.followers, chain, all_of_them, set)),
        asyncio.create_task(copier.run()),
        asyncio.create_task(hash_chain.extend(kontor.hash_chain)),
    ]
    yield noting
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def told(verdict: Verdict) -> set[tuple[str, str]]:
    return {(each.where, each.what) for each in verdict.findings}


async def more(kontor: Kontor, times: int) -> None:
    for sku in "ABC" * times:
        await kontor.pipeline.execute(ReceiveStock(sku=sku, quantity=1), actor=ACTOR)


async def execute(kontor: Kontor, statement: str, *parameters: object) -> None:
    async with kontor.pool.connection() as connection:
        await connection.execute(statement.encode(), parameters)


async def test_followers_past_the_log_are_named_and_set_back_and_miss_nothing(
    kontor: Kontor, followed: dict[str, Noting]
) -> None:
    await receive(kontor, 3)
    register = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
    await kontor.pipeline.execute(register, actor=SYSTEM)
    await until(lambda: caught_up(kontor))
    assert told(await verify_all(kontor)) == set()
    seen = {name: set(each.seen) for name, each in followed.items()}
    shard = shard_of(stock_item_id("A"))
    await execute(kontor, "UPDATE view_positions SET position = %s", FAR)
    await more(kontor, 2)
    await kontor.pipeline.execute(
        RegisterUser(email="grace@example.com", name="Grace", password=PASSWORD), actor=SYSTEM
    )
    await asyncio.sleep(1)
    assert await on_hand(kontor) == {"A": 3, "B": 3, "C": 3}  # nothing moves any more
    found = await verify_all(kontor)
    everybody = followers(VIEWS.values())
    assert {name for name, *_ in found.astray} == set(everybody)
    assert {(name, "past the log") for name in everybody} <= told(found)
    assert (STOCK.table, "inventory", shard, FAR) in found.astray
    await repair(kontor, found)
    assert told(await verify_all(kontor)) == set()
    assert await on_hand(kontor) == {"A": 5, "B": 5, "C": 5}
    ((registered,),) = await kontor.reads.fetch(
        SQL("SELECT max(notification_id) FROM events WHERE topic = 'user.registered'"), []
    )
    for name in ("erasure", "effects"):
        assert seen[name] < set(followed[name].seen)
        assert registered in followed[name].seen


async def test_a_follower_that_stands_at_no_event_of_its_shard_is_named(
    kontor: Kontor, followed: dict[str, Noting]
) -> None:
    await receive(kontor, 1)
    await until(lambda: caught_up(kontor))
    assert told(await verify_all(kontor)) == set()
    shard = shard_of(stock_item_id("A"))
    other = next(each for each in range(12) if each != shard)
    await execute(
        kontor,
        "UPDATE view_positions SET position = (SELECT max(notification_id) FROM events WHERE context = 'inventory'"
        " AND shard = %s) WHERE view = 'stock_v1' AND shard = %s",
        shard,
        other,
    )
    assert {(name, at) for name, _, at, _ in await astray(kontor)} == {("stock_v1", other)}


async def test_effects_are_planned_again_for_as_long_as_the_ledger_knows_what_was(kontor: Kontor) -> None:
    """What is older would be done a second time: what was done is deleted from the ledger after 30 days."""
    for email in ("old", "new"):
        await kontor.pipeline.execute(
            RegisterUser(email=f"{email}@example.com", name="Ada", password=PASSWORD), actor=SYSTEM
        )
    await execute(kontor, "UPDATE migrations SET applied_at = now() - interval '100 days'")
    await execute(kontor, "UPDATE events SET shard = 3 WHERE context = 'users'")
    await execute(kontor, "UPDATE events SET recorded_at = now() - interval '40 days' WHERE notification_id <= 2")
    await execute(kontor, "UPDATE view_positions SET position = %s WHERE view = 'effects' AND context = 'users'", FAR)
    from streams.standing import set_back  # noqa: PLC0415

    await set_back(kontor, await astray(kontor))
    rows = await kontor.reads.fetch(
        SQL("SELECT position FROM view_positions WHERE view = 'effects' AND context = 'users' AND shard = 3"), []
    )
    assert rows == [(2,)]


async def test_a_relay_past_the_log_is_named_and_publishes_all_of_it_again(
    kontor: Kontor, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.verification.PASSING_S_MAX", 0.1)
    await receive(kontor, 2)
    async with relaying(kontor):
        await until(lambda: caught_up(kontor))
        await execute(kontor, "UPDATE relay_checkpoint SET position = %s", FAR)
        await execute(kontor, "UPDATE relay_partitions SET position = %s", FAR)
    async with relaying(kontor):
        await more(kontor, 1)
        found = await verify_all(kontor)
        assert ("relay", "past the log") in told(found)
        await repair(kontor, found)

        async def whole() -> bool:
            after = told(await verify_all(kontor))
            return not {(where, what) for where, what in after if where == "relay" or where.startswith("kafka")}

        await until(whole)


async def test_a_key_destroyed_without_an_erasure_is_named_and_the_person_can_have_one_again(
    kontor: Kontor, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("PASSING_S_MAX", "SETTLING_S_MAX"):  # no relay and no worker run here
        monkeypatch.setattr(f"streams.verification.{bound}", 0.1)
    register = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
    ada: UUID = (await kontor.pipeline.execute(register, actor=SYSTEM)).aggregate_id
    await execute(kontor, "UPDATE person_keys SET wrapped_key = NULL, destroyed_at = now() WHERE person_id = %s", ada)
    found = await verify_all(kontor)
    assert (found.keys, ("keys", "destroyed") in told(found)) == ([ada], True)
    await repair(kontor, found)
    assert (await verify_all(kontor)).keys == []
    (token,) = await kontor.personal_data.seal(ada, (PersonalField.USER_NAME, "Ada"))
    assert await kontor.personal_data.open([(ada, PersonalField.USER_NAME, token)]) == ["Ada"]
    assert await kontor.personal_data.open([(uuid4(), PersonalField.USER_NAME, token)]) == [None]
