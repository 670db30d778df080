"""A connection for a few statements that are sent over and over, spoken to at the level of libpq.

A psycopg cursor converts the query, chooses dumpers and loaders and waits through layers made for every case, which
for the statements of a group commit took longer than everything else about them. Here a statement is prepared once,
its parameters are bytes already, and the socket stays registered with the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import psycopg
from psycopg import pq

from adapters.away import NOTICES_LOSS

Row = tuple[bytes | None, ...]

APPLICATION: Final = "kontor.group-commit"
CONNECT_S_MAX: Final = 5
LOOK_S: Final = 1.0  # while an answer is waited for
# Every statement finds its rows by their keys, so one plan is right whatever the parameters are, and whatever the
# planner believes of a table that has just been empty. To plan the load of an aggregate took five times as long as to
# execute it.
_ONE_PLAN: Final = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"
_BINARY: Final = 1


_PLACEHOLDER: Final = re.compile("%[sb]")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with a name of its own; its placeholders are $1, $2 and so on."""

    name: bytes
    text: bytes

    @classmethod
    def of(cls, query: str) -> Statement:
        """One that is written for cursors, with `%s` and `%b` for its parameters; named after its text."""
        numbers = count(1)
        text = _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", query).encode()
        return cls(hashlib.blake2b(text, digest_size=16).hexdigest().encode(), text)


Call = tuple[Statement, Sequence[bytes]]  # with its parameters, in the binary format


class PreparedConnection:
    """Opened when it is wanted, and again after it was closed. One flight at a time; not for several tasks.

    `name` is what the server calls it."""

    def __init__(self, conninfo: str, *, name: str = APPLICATION) -> None:
        self._conninfo = conninfo
        self._name = name
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._socket: int | None = None  # as long as it is watched
        self._prepared: set[bytes] = set()
        self._results: list[pq.abc.PGresult] = []
        self._syncs = 0  # that are still to come in this flight
        self._answered: asyncio.Future[None] | None = None
        self._look: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> bool:
        """Was it open, and is known to be so no more?"""
        return self._connection is not None and self._socket is None

    @property
    def idle(self) -> bool:
        """Is it open, with no flight under way and no transaction begun?"""
        if self._connection is None or self.lost or self._answered is not None:
            return False
        return self._connection.pgconn.transaction_status == pq.TransactionStatus.IDLE

    async def execute(self, statement: Statement, parameters: Sequence[bytes]) -> list[Row]:
        """The rows, in the binary format; see `execute_all`."""
        (rows,) = await self.execute_all([(statement, parameters)])
        return rows

    async def execute_all(self, calls: Sequence[Call], *, first: Call | None = None) -> list[list[Row]]:
        """The rows of each, in the binary format, in one round trip and, unless they begin or end one themselves, in
        one transaction. None after one that fails is executed. `first` is executed before them in a transaction of its
        own, and its rows come first.

        Raises psycopg's error of the server's SQLSTATE, or OperationalError when the connection is lost: whether the
        statements took effect is then unknown."""
        pgconn = (self._connection or await self._opened()).pgconn
        preparing: list[bytes | None] = []  # for each answer the statement that it prepares
        self._syncs = 1
        for statement, parameters in calls if first is None else (first, *calls):
            if statement.name not in self._prepared and statement.name not in preparing:
                pgconn.send_prepare(statement.name, statement.text)
                preparing.append(statement.name)
            pgconn.send_query_prepared(
                statement.name, parameters, param_formats=[_BINARY] * len(parameters), result_format=_BINARY
            )
            preparing.append(None)
            if first is not None and self._syncs == 1:
                pgconn.pipeline_sync()
                self._syncs = 2
        pgconn.pipeline_sync()
        rows = []
        for prepared, result in zip(preparing, await self._answers(pgconn), strict=True):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise _error_of(result)
            if prepared is not None:
                self._prepared.add(prepared)
            else:
                rows.append(_rows_of(result))
        return rows

    async def close(self) -> None:
        """Give it up; the next use opens another."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        self._results.clear()
        if connection is not None:
            self._unwatch()
            await connection.close()

    async def _opened(self) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            application_name=self._name,
            connect_timeout=CONNECT_S_MAX,
            **NOTICES_LOSS,
        )
        try:
            await connection.execute(_ONE_PLAN)
        except BaseException:
            await connection.close()
            raise
        connection.pgconn.enter_pipeline_mode()
        self._connection, self._socket = connection, connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable, connection.pgconn)
        return connection

    async def _answers(self, pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
        answered = self._answered = asyncio.get_running_loop().create_future()
        self._look_again(pgconn)
        if pgconn.flush() and self._socket is not None:  # the socket takes no more at present
            asyncio.get_running_loop().add_writer(self._socket, self._writable, pgconn)
        try:
            await answered
        finally:
            if self._look is not None:
                self._look.cancel()
        results, self._results = self._results, []
        return results

    def _look_again(self, pgconn: pq.abc.PGconn) -> None:
        """What the event loop has not told, because the socket's number was another's before, is seen all the same."""
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self._look_now, pgconn)

    def _look_now(self, pgconn: pq.abc.PGconn) -> None:
        self._look_again(pgconn)
        self._readable(pgconn)

    def _readable(self, pgconn: pq.abc.PGconn) -> None:
        try:
            pgconn.consume_input()
            between = False  # between two answers there is nothing; twice nothing is the end of what has come
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None and between:
                    return None
                between = result is None
                if result is None:
                    continue
                if result.status != pq.ExecStatus.PIPELINE_SYNC:
                    self._results.append(result)
                    continue
                self._syncs -= 1
                if self._syncs == 0:
                    return self._end(None)
        except psycopg.Error as error:
            # libpq has closed the socket: its number may be another connection's before `close` is called.
            self._unwatch()
            self._end(error)

    def _writable(self, pgconn: pq.abc.PGconn) -> None:
        try:
            pgconn.consume_input()  # the server may wait for us to read before it reads
            if not pgconn.flush() and self._socket is not None:
                asyncio.get_running_loop().remove_writer(self._socket)
        except psycopg.Error as error:
            self._unwatch()
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        answered, self._answered = self._answered, None
        if answered is None or answered.done():
            return
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(None)

    def _unwatch(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket = None


class PreparedConnections:
    """Several, each opened when it is wanted, and then kept for whoever wants one: as many as were wanted at a time.
    To be closed."""

    def __init__(self, conninfo: str, *, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._free: list[PreparedConnection] = []

    async def close(self) -> None:
        """Those that nobody has; safe to repeat."""
        while self._free:
            await self._free.pop().close()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[PreparedConnection]:
        """Nobody else's meanwhile. One that was lost, or is left in the middle of something, is not kept."""
        connection = await self._taken()
        try:
            yield connection
        finally:
            if connection.idle:
                self._free.append(connection)
            else:  # the server rolls back what it has begun
                await connection.close()

    async def _taken(self) -> PreparedConnection:
        while self._free:
            connection = self._free.pop()
            if connection.idle:
                return connection
            await connection.close()
        return PreparedConnection(self._conninfo, name=self._name)


def _rows_of(result: pq.abc.PGresult) -> list[Row]:
    columns = range(result.nfields)
    return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]


def _error_of(result: pq.abc.PGresult) -> psycopg.Error:
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = result.error_message.decode(errors="replace").strip()
    try:
        kind = psycopg.errors.lookup(state.decode()) if state else psycopg.OperationalError
    except KeyError:
        kind = psycopg.DatabaseError
    return kind(message)
