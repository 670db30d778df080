"""The connection of the group commit: answers, refusals, parameters of any size, and what happens when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from adapters.packed_arrays import uuids
from adapters.prepared_connection import PreparedConnection, PreparedConnections, Statement
from adapters.wiring import Kontor

LENGTH = Statement(b"length", b"SELECT length($1::bytea), NULL::int, $1::bytea FROM generate_series(1, 2)")
WRONG = Statement(b"wrong", b"SELECT 1 / length($1::bytea)")
BACKEND = Statement(b"backend", b"SELECT pg_backend_pid()")


@pytest.fixture
async def connection(kontor: Kontor) -> AsyncIterator[PreparedConnection]:
    made = PreparedConnection(kontor.settings.postgres_url)
    yield made
    await made.close()


async def test_rows_come_in_the_binary_format(connection: PreparedConnection) -> None:
    row = ((3).to_bytes(4, "big"), None, b"abc")
    assert await connection.execute(LENGTH, [b"abc"]) == [row, row]


async def test_more_than_the_sockets_hold_goes_through_both_ways(connection: PreparedConnection) -> None:
    much = bytes(20_000_000)
    rows = await connection.execute(LENGTH, [much])
    assert [row[2] for row in rows] == [much, much]


async def test_a_refusal_is_the_error_of_its_state_and_the_connection_goes_on(connection: PreparedConnection) -> None:
    (before,) = await connection.execute(BACKEND, [])
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            await connection.execute(WRONG, [b""])
    assert await connection.execute(BACKEND, []) == [before]


async def test_a_statement_that_cannot_be_prepared_is_told_and_tried_again(connection: PreparedConnection) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable, match="no_such_table"):
            await connection.execute(Statement(b"later", b"SELECT FROM no_such_table"), [])


async def _terminate(kontor: Kontor, connection: PreparedConnection) -> None:
    ((pid,),) = await connection.execute(BACKEND, [])
    async with kontor.pool.connection() as other:
        # Returns when it has ended: until then it would still answer.
        await other.execute("SELECT pg_terminate_backend(%s, 30000)", [int.from_bytes(pid or b"", "big")])


async def test_a_connection_lost_while_idle_is_told_at_the_next_use_and_made_anew_after_close(
    kontor: Kontor, connection: PreparedConnection
) -> None:
    await _terminate(kontor, connection)
    with pytest.raises(psycopg.OperationalError):
        await connection.execute(LENGTH, [b"abc"])
    await connection.close()
    assert len(await connection.execute(LENGTH, [b"abc"])) == 2


async def test_a_connection_lost_while_a_statement_runs_is_told_at_once(
    kontor: Kontor, connection: PreparedConnection
) -> None:
    sleeping = Statement(b"sleeping", b"SELECT pg_sleep(30)")
    ((pid,),) = await connection.execute(BACKEND, [])
    running = asyncio.ensure_future(connection.execute(sleeping, []))
    await asyncio.sleep(0.2)
    async with kontor.pool.connection() as other:
        await other.execute("SELECT pg_terminate_backend(%s)", [int.from_bytes(pid or b"", "big")])
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(running, 25)


async def test_an_answer_of_which_the_loop_does_not_tell_is_seen_all_the_same(connection: PreparedConnection) -> None:
    await connection.execute(BACKEND, [])
    assert connection._socket is not None
    asyncio.get_running_loop().remove_reader(connection._socket)
    async with asyncio.timeout(60):
        assert len(await connection.execute(LENGTH, [b"abc"])) == 2


async def test_all_of_several_statements_take_effect_or_none(kontor: Kontor, connection: PreparedConnection) -> None:
    make = Statement(b"make", b"CREATE TABLE made (value int)")
    add = Statement(b"add", b"INSERT INTO made VALUES ($1::bytea::text::int)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.execute_all([(make, []), (WRONG, [b""]), (BACKEND, [])])
    with pytest.raises(psycopg.errors.UndefinedTable):
        await connection.execute(add, [b"1"])
    made, (row, same), _ = await connection.execute_all([(make, []), (LENGTH, [b"abc"]), (BACKEND, [])])
    assert (made, row, row[2]) == ([], same, b"abc")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        await connection.execute(add, [b"1"])


async def test_what_comes_first_is_a_transaction_of_its_own(connection: PreparedConnection) -> None:
    make, wrong = Statement(b"make", b"CREATE TABLE made (value int)"), Statement(b"gone", b"SELECT * FROM nothing")
    begin, rollback = Statement(b"begin", b"BEGIN"), Statement(b"rollback", b"ROLLBACK")
    made, began, rows = await connection.execute_all([(begin, []), (LENGTH, [b"abc"])], first=(make, []))
    assert (made, began, rows[0][2], connection.idle) == ([], [], b"abc", False)
    await connection.execute(rollback, [])
    assert await connection.execute(Statement(b"all", b"TABLE made"), []) == []  # it was committed
    with pytest.raises(psycopg.errors.UndefinedTable):
        await connection.execute_all([(LENGTH, [b"abc"])], first=(wrong, []))
    assert len(await connection.execute(LENGTH, [b"abc"])) == 2


async def test_a_statement_has_one_plan_and_finds_its_rows_by_key_in_a_table_that_was_empty(
    connection: PreparedConnection,
) -> None:
    plans = Statement(
        b"plans",
        b"SELECT generic_plans = calls, custom_plans FROM (SELECT generic_plans, custom_plans,"
        b" generic_plans + custom_plans AS calls FROM pg_prepared_statements WHERE name = 'by_key') AS s",
    )
    by_key = Statement(b"by_key", b"SELECT state FROM snapshots WHERE originator_id = ANY($1::uuid[])")
    for _ in range(3):
        await connection.execute(by_key, [uuids([uuid4()]).data])
    assert await connection.execute(plans, []) == [(b"\x01", bytes(8))]
    explain = Statement(b"explain", b"EXPLAIN SELECT state FROM snapshots WHERE originator_id = ANY('{}'::uuid[])")
    plan = b" ".join(line or b"" for (line,) in await connection.execute(explain, []))
    assert b"Seq Scan" not in plan
    assert b"Index" in plan


@pytest.fixture
async def several(kontor: Kontor) -> AsyncIterator[PreparedConnections]:
    made = PreparedConnections(kontor.settings.postgres_url, name="kontor.test")
    yield made
    await made.close()


async def backend_of(connection: PreparedConnection) -> bytes | None:
    ((pid,),) = await connection.execute(BACKEND, [])
    return pid


async def test_as_many_connections_are_kept_as_were_wanted_at_a_time(several: PreparedConnections) -> None:
    async with several.one() as first, several.one() as second:
        before = {await backend_of(first), await backend_of(second)}
    assert len(before) == 2
    for _ in range(3):
        async with several.one() as one, several.one() as other:
            assert {await backend_of(one), await backend_of(other)} == before


async def test_a_connection_that_was_refused_something_is_kept(several: PreparedConnections) -> None:
    async with several.one() as connection:
        before = await backend_of(connection)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute(WRONG, [b""])
    async with several.one() as connection:
        assert await backend_of(connection) == before


async def test_one_in_the_middle_of_something_or_lost_is_given_up(kontor: Kontor, several: PreparedConnections) -> None:
    async with several.one() as connection:
        begun = await backend_of(connection)
        await connection.execute(Statement(b"begin", b"BEGIN"), [])
    async with several.one() as connection:
        flown = await backend_of(connection)
        assert flown != begun
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.execute(Statement(b"sleep", b"SELECT pg_sleep(1)"), []), 0.2)
    async with several.one() as connection:
        assert await backend_of(connection) != flown
        await _terminate(kontor, connection)
        for _ in range(100):  # until the loop has told
            if connection.lost:
                break
            await asyncio.sleep(0.02)
    async with several.one() as connection:
        assert await backend_of(connection) is not None
