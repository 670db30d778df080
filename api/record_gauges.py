"""Records on Kafka that no worker believed, as a figure at `/metrics`."""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL

from adapters.metrics import RECORDS_REFUSED
from adapters.read_store import ReadStore
from api.gauges import Gauges

_REFUSED: Final = SQL("SELECT topic, sum(records)::bigint FROM refused_records GROUP BY topic")


class RecordGauges(Gauges):
    """Of each topic, how many were refused since the installation was made."""

    name = "records"
    gauges = (RECORDS_REFUSED,)

    def __init__(self, reads: ReadStore) -> None:
        super().__init__()
        self._reads = reads

    async def _look(self) -> None:
        refused = await self._reads.fetch(_REFUSED, [])
        self._clear()
        for topic, records in refused:
            RECORDS_REFUSED.labels(topic).set(records)
