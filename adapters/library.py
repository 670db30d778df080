"""The eventsourcing library's own Application on Kontor's log.

Its recorder appends through `append_events`, like `adapters.event_store`, and reads the same table. So the
library's repository, notification log and subscriptions work beside the running system: for scripts,
analysis and tests. What the processes append goes through `adapters.event_store`, which is asynchronous and
gathers appends; both have the same lock, the same order and the same conflicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Mapper, StoredEvent, Transcoder
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresFactory
from eventsourcing.utils import get_topic
from uuid_utils.compat import uuid7

from adapters.event_codec import EventMapper
from adapters.event_store import APPEND
from domain import CONTEXT_OF, aggregate_type_of
from domain.identity import shard_of


class LogRecorder(PostgresApplicationRecorder):
    """Records in the table `events`. Raises the library's IntegrityError on a version conflict; stores nothing then.

    `command_id`, `actor` and the like may be given to `Application.save` as keyword arguments."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        # Not the library's retry loop: repeating an append whose answer was lost would report a false conflict.
        if not stored_events:
            return []
        command_id: UUID = kwargs.get("command_id") or uuid7()
        command = (
            [command_id],
            [kwargs.get("command_name", "Application.save")],
            [kwargs.get("actor", "system:library")],
            [b""],
            ["{}"],
            [kwargs.get("correlation_id") or command_id],
            [kwargs.get("causation_id")],
        )
        version = kwargs.get("schema_version", 1)
        rows = []
        for event in stored_events:
            shard = shard_of(UUID(str(event.originator_id)))
            context = CONTEXT_OF[aggregate_type_of(event.topic)]
            rows.append(
                (1, event.originator_id, event.originator_version, event.topic, event.state, version, context, shard)
            )
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute(APPEND, [*command, *(list(column) for column in zip(*rows, strict=True))])
            answer = cursor.fetchone()
        assert answer is not None
        if answer["refused"] is not None:
            raise IntegrityError(f"{answer['refused']}: {[(str(row[1]), row[2]) for row in rows]}")
        return list(range(answer["first_position"], answer["first_position"] + len(rows)))


class LogFactory(PostgresFactory):
    """Gives the library Kontor's recorder and mapper; the tables are the migrations', never made here."""

    def application_recorder(self) -> ApplicationRecorder:
        return LogRecorder(self.datastore, events_table_name="events")

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
