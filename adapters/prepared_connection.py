"""A connection for a few statements that are sent over and over, spoken to at the level of libpq.

A psycopg cursor converts the query, chooses dumpers and loaders and waits through layers made for every case, which
for the statements of a group commit took longer than everything else about them. Here a statement is prepared once,
its parameters are bytes already, and the socket stays registered with the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import pq

Row = tuple[bytes | None, ...]

APPLICATION: Final = "kontor.group-commit"
CONNECT_S_MAX: Final = 5
_BINARY: Final = 1
_NO_ANSWER: Final = "the connection was closed before the answer"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with a name of its own; its placeholders are $1, $2 and so on."""

    name: bytes
    text: bytes


class PreparedConnection:
    """Opened when it is wanted, and again after it was lost. One statement at a time; not for several tasks."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._socket: int | None = None  # as long as it is watched
        self._prepared: set[bytes] = set()
        self._results: list[pq.abc.PGresult] = []
        self._answered: asyncio.Future[None] | None = None

    async def execute(self, statement: Statement, parameters: Sequence[bytes]) -> list[Row]:
        """The rows, in the binary format. Raises psycopg's error of the server's SQLSTATE, or OperationalError when
        the connection is lost: whether the statement took effect is then unknown."""
        pgconn = (self._connection or await self._opened()).pgconn
        if statement.name not in self._prepared:
            pgconn.send_prepare(statement.name, statement.text)
            await self._answer(pgconn)
            self._prepared.add(statement.name)
        pgconn.send_query_prepared(
            statement.name, parameters, param_formats=[_BINARY] * len(parameters), result_format=_BINARY
        )
        result = await self._answer(pgconn)
        return [
            tuple(result.get_value(row, column) for column in range(result.nfields)) for row in range(result.ntuples)
        ]

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
            self._conninfo, autocommit=True, application_name=APPLICATION, connect_timeout=CONNECT_S_MAX
        )
        self._connection, self._socket = connection, connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable, connection.pgconn)
        return connection

    async def _answer(self, pgconn: pq.abc.PGconn) -> pq.abc.PGresult:
        answered = self._answered = asyncio.get_running_loop().create_future()
        if pgconn.flush() and self._socket is not None:  # the socket takes no more at present
            asyncio.get_running_loop().add_writer(self._socket, self._writable, pgconn)
        await answered
        results, self._results = self._results, []
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise _error_of(result)
        return results[0]

    def _readable(self, pgconn: pq.abc.PGconn) -> None:
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    return self._end(None)
                self._results.append(result)
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
        elif not self._results:
            answered.set_exception(psycopg.OperationalError(_NO_ANSWER))
        else:
            answered.set_result(None)

    def _unwatch(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket = None


def _error_of(result: pq.abc.PGresult) -> psycopg.Error:
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = result.error_message.decode(errors="replace").strip()
    try:
        kind = psycopg.errors.lookup(state.decode()) if state else psycopg.OperationalError
    except KeyError:
        kind = psycopg.DatabaseError
    return kind(message)
