"""The eventsourcing library's own Application on Kontor's log.

Its recorder appends through `append_events`, like `adapters.event_store`, and reads the same table. So the
library's repository, notification log and subscriptions work beside the running system: for scripts,
analysis and tests. What the processes append goes through `adapters.event_store`, which is asynchronous and
gathers appends; both have the same lock, the same order and the same conflicts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    InterfaceError,
    Mapper,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Transcoder,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresFactory
from eventsourcing.utils import get_topic
from psycopg.sql import SQL
from uuid_utils.compat import uuid7

from adapters.appending import CAREFUL, ROW_TYPES, PendingRow, packed, parameters
from adapters.event_codec import EventMapper, VersionedStoredEvent
from adapters.group_commit import APPEND_LOCK
from adapters.packed_arrays import PackedArray
from commands.ports import Append
from domain import CONTEXT_OF, aggregate_type_of

# As a psycopg cursor writes it; the placeholders stand in their order.
_CAREFUL: Final = re.sub(rb"\$\d+", b"%b", CAREFUL.text)


def context_of(topic: str) -> str:
    """The context of an event type. Raises ProgrammingError for one that Kontor does not know."""
    try:
        return CONTEXT_OF[aggregate_type_of(topic)]
    except KeyError:
        raise ProgrammingError(
            f"{topic} belongs to no context of Kontor, so it cannot be published; list its aggregate in domain.CONTEXTS"
        ) from None


@dataclass(frozen=True)
class VersionedNotification(Notification):
    """The library's notification, and the version of the shape of its state."""

    schema_version: int = 1


class LogRecorder(PostgresApplicationRecorder):
    """Records in the table `events`. Raises the library's IntegrityError on a version conflict; stores nothing then.

    `command_id`, `actor` and the like may be given to `Application.save` as keyword arguments."""

    def __init__(self, datastore: PostgresDatastore, *, context_of: Callable[[str], str] = context_of) -> None:
        super().__init__(datastore, events_table_name="events")
        self._context_of = context_of
        # What `append_events` notifies: the library's subscriptions wake with the relay.
        self.channel_name = "kontor_events"

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Their positions. A connection that is lost in the middle is resolved by the command's id."""
        if not stored_events:
            return []
        command_id: UUID = kwargs.get("command_id") or uuid7()
        append = Append(
            command_id=command_id,
            command_name=kwargs.get("command_name", "Application.save"),
            request_digest=b"",
            result={},
            actor=kwargs.get("actor", "system:library"),
            correlation_id=kwargs.get("correlation_id") or command_id,
            causation_id=kwargs.get("causation_id"),
        )
        batch = [packed(append, map(self._row, stored_events))]
        try:
            with self.datastore.get_connection() as connection, connection.cursor() as cursor:
                cursor.execute(ROW_TYPES.text, [])
                row_types = cursor.fetchone()
                assert row_types is not None
                given = parameters(batch, (row_types["commands"], row_types["events"]))
                cursor.execute(_CAREFUL, [PackedArray(each) for each in given])
                answer = cursor.fetchone()
        except (OperationalError, InterfaceError):
            # Not the library's retry loop: repeating an append whose answer was lost would report a false conflict.
            first = self._first_position(command_id)
            if first is None:
                raise
            answer = {"refused": None, "first_position": first}
        assert answer is not None
        if answer["refused"] is not None:
            streams = [(str(event.originator_id), event.originator_version) for event in stored_events]
            raise IntegrityError(f"{answer['refused']}: {streams}")
        return list(range(answer["first_position"], answer["first_position"] + len(stored_events)))

    def _row(self, event: StoredEvent) -> PendingRow:
        return PendingRow(
            aggregate_id=UUID(str(event.originator_id)),
            version=event.originator_version,
            topic=event.topic,
            state=event.state,
            schema_version=getattr(event, "schema_version", 1),
            context=self._context_of(event.topic),
        )

    def _first_position(self, command_id: UUID) -> int | None:
        with self.datastore.transaction() as cursor:
            # A server process that is still committing holds this lock: wait for its end.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
            cursor.execute("SELECT first_position FROM commands WHERE command_id = %s", [command_id])
            row = cursor.fetchone()
        return row["first_position"] if row else None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """As the library's, with each event's schema version."""
        order = SQL("DESC" if desc else "ASC")
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute(
                SQL(
                    "SELECT originator_id, originator_version, topic, state, schema_version FROM events"
                    " WHERE originator_id = %s AND originator_version > %s AND originator_version <= %s"
                    " ORDER BY originator_version {} LIMIT %s"
                ).format(order),
                [originator_id, -1 if gt is None else gt, 2**63 - 1 if lte is None else lte, limit],
            )
            return [VersionedStoredEvent(**row) for row in cursor.fetchall()]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """As the library's, with each event's schema version."""
        after = 0 if start is None else start - inclusive_of_start
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT notification_id AS id, originator_id, originator_version, topic, state, schema_version"
                " FROM events WHERE notification_id > %s AND notification_id <= %s AND (%s OR topic = ANY(%s))"
                " ORDER BY notification_id LIMIT %s",
                [after, 2**63 - 1 if stop is None else stop, not topics, list(topics), limit],
            )
            return [VersionedNotification(**row) for row in cursor.fetchall()]


class LogFactory(PostgresFactory):
    """Gives the library Kontor's recorder and mapper; the tables are the migrations', never made here."""

    def application_recorder(self) -> ApplicationRecorder:
        return LogRecorder(self.datastore)

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        del transcoder, mapper_class
        return EventMapper()


class LogApplication(Application[UUID]):
    """`LogApplication.on(postgres_url)` reads and saves Kontor's aggregates the library's way."""

    @classmethod
    def on(cls, postgres_url: str) -> LogApplication:
        """Close it with `close()` when done."""
        parts = urlsplit(postgres_url)
        return cls(
            env={
                "PERSISTENCE_MODULE": get_topic(LogFactory),
                "POSTGRES_DBNAME": parts.path.lstrip("/"),
                "POSTGRES_HOST": parts.hostname or "",
                "POSTGRES_PORT": str(parts.port or 5432),
                "POSTGRES_USER": unquote(parts.username or ""),
                "POSTGRES_PASSWORD": unquote(parts.password or ""),
                "POSTGRES_CONNECT_TIMEOUT": "5",
                "CREATE_TABLE": "n",
            }
        )
