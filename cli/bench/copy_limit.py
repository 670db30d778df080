"""Contestant `copy`: the limit of a rebuild, the same events copied out of the log and into a table, undecoded."""

from __future__ import annotations

import os
from time import perf_counter

import psycopg

from cli.bench.timing import print_answer

OUT = "COPY (SELECT originator_id, originator_version, notification_id, state FROM events) TO STDOUT (FORMAT binary)"
TABLE = "CREATE TABLE copied (id uuid, version bigint, position bigint, state bytea)"


def main() -> None:
    """Copy, answer."""
    url = os.environ["KONTOR_POSTGRES_URL"]
    with psycopg.connect(url) as reading, psycopg.connect(url) as writing:
        writing.execute(TABLE)
        began = perf_counter()
        with reading.cursor() as source, writing.cursor() as target:
            with source.copy(OUT) as rows, target.copy("COPY copied FROM STDIN (FORMAT binary)") as copied:
                for chunk in rows:
                    copied.write(chunk)
            events = target.rowcount
        writing.commit()
        took = perf_counter() - began
    print_answer({"events_per_s": round(events / took), "events": events})


if __name__ == "__main__":
    main()
