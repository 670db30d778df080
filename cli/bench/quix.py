"""Contestant `quix`: Quix Streams catching up with the topic of orders, with the same rows in the same tables.

Its consumer and its batching sink as its documentation shows them, our codec, folds and statements in the sink: per
partition and checkpoint one transaction with the rows of every view of orders and the position. EVENTS says after how
many to stop; QUIX is the folder it was installed into.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from adapters.read_store import upsert
from adapters.settings import Settings
from adapters.wire import parsed
from cli.bench.order_log import CONTEXT
from cli.bench.timing import print_answer
from projections import views_of
from projections.view import Recorded, View

sys.path.append(os.environ["QUIX"])  # behind ours, so that it takes nothing of ours away

from quixstreams import Application  # type: ignore[import-not-found]  # installed by who compares
from quixstreams.sinks import BatchingSink, SinkBatch  # type: ignore[import-not-found]

SETTINGS: Final = Settings.from_environment()
EVENTS: Final = int(os.environ["EVENTS"])
CHECKPOINT_EVENTS: Final = 10_000
CHECKPOINT_S: Final = 1.0
VIEWS: Final = views_of(CONTEXT)
UPSERTS: Final = {view.name: upsert(view) for view in VIEWS}
_POSITION: Final = "UPDATE view_positions SET position = %s WHERE view = %s AND context = %s AND shard = %s"


class Rows(BatchingSink):  # type: ignore[misc]  # of a library that is not installed here
    """The views' rows."""

    def __init__(self) -> None:
        super().__init__()
        self._connection = psycopg.connect(SETTINGS.postgres_url, options="-c synchronous_commit=off")
        self._written = 0
        self._began = 0.0

    def write(self, batch: SinkBatch) -> None:
        """One partition's records of one checkpoint."""
        self._began = self._began or perf_counter()
        linked = [parsed(CONTEXT, batch.partition, item.value, item.headers) for item in batch]
        events = [each.record.decoded() for each in linked]
        with self._connection.pipeline(), self._connection.transaction():
            for view in VIEWS:
                self._write_view(view, events)
                self._connection.execute(_POSITION, [events[-1].position, view.table, CONTEXT, batch.partition])
        self._written += len(events)
        if self._written >= EVENTS:
            print_answer({"events_per_s": round(self._written / (perf_counter() - self._began)), "events": EVENTS})
            sys.stdout.flush()
            os._exit(0)

    def _write_view(self, view: View[Any], events: Sequence[Recorded]) -> None:
        query = SQL("SELECT coalesce(json_agg(to_json(t)), '[]')::text FROM {} t WHERE id = ANY(%s)").format(
            Identifier(view.table)
        )
        found = self._connection.execute(query, [list({event.aggregate_id for event in events})]).fetchone()
        assert found is not None
        rows = {row.id: row for row in msgspec.json.decode(found[0], type=list[view.row])}  # type: ignore[name-defined]
        for event in events:
            row = rows.get(event.aggregate_id)
            if row is None or event.version > row.version:
                rows[event.aggregate_id] = view.fold(row, event)
        self._connection.execute(UPSERTS[view.name], [msgspec.json.encode(list(rows.values())).decode()])


def main() -> None:
    """Work until the last event."""
    app = Application(
        broker_address=SETTINGS.kafka_url,
        consumer_group=f"{SETTINGS.worker_group}-quix",
        auto_offset_reset="earliest",
        commit_every=CHECKPOINT_EVENTS,
        commit_interval=CHECKPOINT_S,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    topic = app.topic(SETTINGS.topic_prefix + CONTEXT, value_deserializer="bytes", key_deserializer="bytes")
    app.dataframe(topic).sink(Rows())
    app.run()


if __name__ == "__main__":
    main()
