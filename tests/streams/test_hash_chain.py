"""The hash chain over the log: whatever is changed in the database afterwards is found, with its position."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.hash_chain import LINK_EVENTS_MAX, ChainCut, HashChain
from adapters.wiring import Kontor
from streams import hash_chain
from streams.hash_chain import Anchor
from streams.verification import verify_all

pytestmark = pytest.mark.servers

EVENTS = 12
Found = tuple[str, str]  # what, subject
CHANGES = {
    "state": "state = convert_to(replace(convert_from(state, 'UTF8'), '\"quantity\":3', '\"quantity\":4'), 'UTF8')",
    "topic": "topic = 'stock.adjusted'",
    "schema_version": "schema_version = 2",
    "context": "context = 'orders'",
    "shard": "shard = (shard + 1) % 12",
    "command_id": "command_id = gen_random_uuid()",
    "correlation_id": "correlation_id = gen_random_uuid()",
    "causation_id": "causation_id = gen_random_uuid()",
    "actor": "actor = 'user:' || gen_random_uuid()",
    "recorded_at": "recorded_at = recorded_at + interval '1 microsecond'",
    "originator_id": "originator_id = gen_random_uuid()",
    "originator_version": "originator_version = originator_version + 100",
}
# Events of as many aggregates.
COPIES = (
    "INSERT INTO events (originator_id, originator_version, topic, state, context, shard, command_id, correlation_id,"
    " actor) SELECT gen_random_uuid(), 1, 'stock.received', '{{\"quantity\":3}}', 'inventory', 0, gen_random_uuid(),"
    " gen_random_uuid(), 'system:test' FROM generate_series(1, {})"
)


@pytest.fixture
async def recorded(kontor: Kontor) -> Kontor:
    """Twelve events in three links."""
    for _ in range(3):
        await run(kontor, COPIES.format(EVENTS // 3))
        assert await kontor.hash_chain.extend() is not None
    return kontor


async def run(kontor: Kontor, statement: str) -> None:
    """As the owner of the database, who may do anything."""
    async with kontor.pool.connection() as connection:
        await connection.execute(statement.encode())


async def found(kontor: Kontor, *expected: Anchor) -> list[Found]:
    """What the check tells: what it is and where."""
    told: list[Found] = []

    def note(where: str, what: str, subject: object, detail: str) -> None:
        assert where == "hash chain", detail
        told.append((what, str(subject)))

    await hash_chain.check(kontor.hash_chain, await kontor.log.end(), note, expected, wait_s=0)
    return told


async def anchor(kontor: Kontor) -> Anchor:
    end, covered = await hash_chain.check(kontor.hash_chain, 0, lambda *_: None, wait_s=0)
    assert end is not None
    assert covered == EVENTS
    return end


async def test_what_was_recorded_is_what_the_chain_has(recorded: Kontor) -> None:
    assert await found(recorded, await anchor(recorded)) == []


@pytest.mark.parametrize("column", CHANGES)
async def test_a_changed_column_is_found_at_its_position(recorded: Kontor, column: str) -> None:
    await run(recorded, f"UPDATE events SET {CHANGES[column]} WHERE notification_id = 6")
    assert await found(recorded) == [("different", "6")]


async def test_a_removed_event_is_found_at_its_position(recorded: Kontor) -> None:
    await run(recorded, "DELETE FROM events WHERE notification_id = 6")
    assert await found(recorded) == [("missing", "6")]


@pytest.mark.parametrize("position", [-5, 0])
async def test_an_event_inserted_before_all_others_is_found(recorded: Kontor, position: int) -> None:
    await insert_copy(recorded, position)
    assert await found(recorded) == [("extra", str(position))]


async def test_an_event_inserted_between_two_is_found(recorded: Kontor) -> None:
    await run(recorded, "DELETE FROM events WHERE notification_id = 6")
    await run(recorded, "DELETE FROM hash_chain")
    again = HashChain(recorded.pool, recorded.personal_data.hash_chain_key)
    assert await again.extend() is not None
    await insert_copy(recorded, 6)
    assert await found(recorded) == [("extra", "6")]


async def test_two_events_that_changed_places_are_found(recorded: Kontor) -> None:
    for old, new in ((6, -6), (7, 6), (-6, 7)):
        await run(recorded, f"UPDATE events SET notification_id = {new} WHERE notification_id = {old}")
    assert await found(recorded) == [("different", "6")]


async def test_several_changes_are_found_each(recorded: Kontor) -> None:
    await run(recorded, "UPDATE events SET actor = 'x' WHERE notification_id IN (2, 7, 12)")
    assert await found(recorded) == [("different", "2"), ("different", "7"), ("different", "12")]


async def test_a_removed_link_is_found(recorded: Kontor) -> None:
    await run(recorded, "DELETE FROM hash_chain WHERE position = 8")
    assert ("missing", "5") in await found(recorded)


async def test_links_made_without_the_key_are_found(recorded: Kontor) -> None:
    await run(recorded, "UPDATE events SET actor = 'x' WHERE notification_id = 2")
    await run(recorded, "DELETE FROM hash_chain")
    assert await HashChain(recorded.pool, bytes(32)).extend() is not None
    assert await found(recorded) == [("different", "1")]


async def test_a_removed_end_is_found_by_the_hash_that_was_noted(recorded: Kontor) -> None:
    noted = await anchor(recorded)
    await run(recorded, "DELETE FROM events WHERE notification_id > 8")
    assert await found(recorded) == [("missing", "9")]
    await run(recorded, "DELETE FROM hash_chain WHERE position > 8")
    assert await found(recorded) == []  # nothing in the database tells
    assert await found(recorded, noted) == [("missing", "12")]


async def test_a_history_chained_anew_is_found_by_the_hash_that_was_noted(recorded: Kontor) -> None:
    noted = await anchor(recorded)
    await run(recorded, "UPDATE events SET actor = 'x' WHERE notification_id = 10")
    await run(recorded, "DELETE FROM hash_chain WHERE position > 8")
    assert await HashChain(recorded.pool, recorded.personal_data.hash_chain_key).extend() is not None
    assert await found(recorded, noted) == [("different", "12")]


async def test_a_process_that_has_seen_the_end_does_not_chain_another_history(recorded: Kontor) -> None:
    await recorded.hash_chain.extend()
    await run(recorded, "DELETE FROM hash_chain WHERE position > 8")
    with pytest.raises(ChainCut, match=r"ended at 12:[0-9a-f]{64}, and now it ends at 8"):
        await recorded.hash_chain.extend()


async def test_events_that_are_not_chained_are_found(recorded: Kontor) -> None:
    await run(recorded, COPIES.format(1))
    assert await found(recorded) == [("stale", "12")]


async def test_a_log_of_before_the_chain_is_chained_from_its_first_event(kontor: Kontor) -> None:
    await run(kontor, COPIES.format(LINK_EVENTS_MAX + 500))
    running = asyncio.create_task(hash_chain.extend(kontor.hash_chain))
    try:
        assert [each async for each in chained(kontor, await kontor.log.end())] == [LINK_EVENTS_MAX, 500]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await found(kontor) == []


async def test_a_link_in_the_middle_of_another_process_is_not_added_twice(recorded: Kontor) -> None:
    await run(recorded, COPIES.format(1))
    others = [HashChain(recorded.pool, recorded.personal_data.hash_chain_key) for _ in range(5)]
    links = await asyncio.gather(*(each.extend() for each in others))
    assert [link.position for link in links if link] == [13]


async def test_verification_tells_and_repairs_nothing(
    recorded: Kontor, topics: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.verification.PASSING_S_MAX", 0.1)
    await run(recorded, "UPDATE events SET actor = 'x' WHERE notification_id = 6")
    verdict = await verify_all(recorded)
    assert [(each.what, each.subject) for each in verdict.findings if each.where == "hash chain"] == [
        ("different", "6")
    ]
    assert verdict.chain_end is not None
    assert verdict.chain_end.position == EVENTS


@pytest.mark.parametrize("text", ["", "12", "0:" + "0" * 64, "12:abc", "x:" + "0" * 64])
def test_an_expected_hash_has_a_position_and_64_digits(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Anchor.of(text)


async def insert_copy(kontor: Kontor, position: int) -> None:
    """An event like one that is there, of another aggregate, at this position."""
    await run(
        kontor,
        "INSERT INTO events (originator_id, originator_version, topic, state, notification_id, context, shard,"
        f" command_id, correlation_id, actor) SELECT gen_random_uuid(), 1, topic, state, {position}, context, shard,"
        " command_id, correlation_id, actor FROM events WHERE notification_id = 2",
    )


async def chained(kontor: Kontor, until: int) -> AsyncIterator[int]:
    """The sizes of the links, when the log is chained up to there."""
    async with asyncio.timeout(60):
        while await kontor.hash_chain.end() < until:
            await asyncio.sleep(0.05)
    async for link in kontor.hash_chain.links(until):
        yield link.events
