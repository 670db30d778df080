"""The gateway's memory: one SQLite file, written by one thread.

Guarantees: when the outermost `transaction` has ended, what was written is on disk. Not safe for a second process on
the same file: the first holds it, and the second is told so when it opens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from cli.gateway.faults import FAULTS_MAX, Fault
from cli.gateway.refusals import Refusal
from cli.gateway.shapes import SHAPES, Charge, Intent, Kept, Refund

KEY_LIFE_S: Final = 86_400
DONE_DELIVERIES_MAX: Final = 10_000
LEDGER_ROWS_MAX: Final = 1_000
BUSY_S: Final = 2.0
SCHEMA: Final = Path(__file__).with_name("books.sql")
K = TypeVar("K", Intent, Charge, Refund)


class KeptAnswer(NamedTuple):
    """The first result of an idempotency key."""

    digest: bytes
    status: int
    body: bytes
    request_id: str


class Delivery(NamedTuple):
    """One webhook to be sent."""

    number: int
    subject: str
    body: bytes
    attempts: int


# The charge of an intent tells what was held, taken and given back; an intent without one had no money.
_INTENTS: Final = """
    FROM objects AS i LEFT JOIN objects AS c ON c.id = json_extract(i.body, '$.latest_charge')
    WHERE i.kind = 'payment_intent'
"""
_AUTHORISED: Final = (
    "iif(json_extract(c.body, '$.status') = 'succeeded', json_extract(c.body, '$.amount'), 0)"  # of a good try
)
_CAPTURED: Final = "coalesce(json_extract(c.body, '$.amount_captured'), 0)"
_REFUNDED: Final = "coalesce(json_extract(c.body, '$.amount_refunded'), 0)"
_HELD: Final = "json_extract(i.body, '$.amount_capturable')"


class Books:
    """One open file. Every method is for the one thread that opened it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        # Nobody else may write, for what runs at this moment is known to this process alone.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA.read_text())
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Safe to repeat."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Durable when it ends, undone when it raises; one inside another is a part of it that can be undone."""
        inside = self._db.in_transaction
        self._db.execute("SAVEPOINT part" if inside else "BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO part" if inside else "ROLLBACK")
            raise
        finally:
            if inside:
                self._db.execute("RELEASE part")
        if not inside:
            self._db.execute("COMMIT")

    def save(self, kept: Kept) -> None:
        """Write the object over what is there of its id."""
        self._db.execute(
            "INSERT INTO objects (id, kind, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (kept.id, kept.object, msgspec.json.encode(kept).decode()),
        )

    def load(self, kind: type[K], object_id: str) -> K | None:
        """The object of this kind and id."""
        (name,) = (name for name, shape in SHAPES.items() if shape is kind)
        row = self._one("SELECT body FROM objects WHERE id = ? AND kind = ?", object_id, name)
        return msgspec.json.decode(row[0], type=kind) if row else None

    def intents_with(self, name: str, value: str, *, limit: int) -> list[Intent]:
        """The newest intents whose metadata has this value; looks at every one, so it is for rare questions."""
        rows = self._db.execute(
            "SELECT body FROM objects WHERE kind = 'payment_intent' AND json_extract(body, ?) = ?"
            " ORDER BY number DESC LIMIT ?",
            (f'$.metadata."{name}"', value, limit),
        )
        return [msgspec.json.decode(body, type=Intent) for (body,) in rows]

    def kept_answer(self, key: str, *, now: float) -> KeptAnswer | None:
        """The first result of the key, for KEY_LIFE_S."""
        row = self._one(
            "SELECT digest, status, body, request_id FROM keys WHERE key = ? AND created > ?", key, now - KEY_LIFE_S
        )
        return KeptAnswer(*row) if row else None

    def keep_answer(self, key: str, answer: KeptAnswer, *, now: float) -> None:
        """Keep it, and forget the ones that are too old."""
        self._db.execute("DELETE FROM keys WHERE created <= ?", (now - KEY_LIFE_S,))
        self._db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)", (key, *answer, now))

    def forget_keys(self) -> int:
        """As if a day had passed; returns how many there were."""
        return self._db.execute("DELETE FROM keys").rowcount

    def add_fault(self, fault: Fault) -> int:
        """Its number. Raises Refusal when there are FAULTS_MAX."""
        if self._count("faults") >= FAULTS_MAX:
            raise Refusal(400, f"There are {FAULTS_MAX} faults already: clear them first.")
        written = self._db.execute(
            "INSERT INTO faults (kind, body, seen) VALUES (?, ?, 0)", (fault.kind, msgspec.json.encode(fault))
        )
        assert written.lastrowid is not None
        return written.lastrowid

    def faults(self) -> list[tuple[int, int, Fault]]:
        """Number, how often it fitted, and the fault itself, in the order in which they were told."""
        rows = self._db.execute("SELECT number, seen, body FROM faults ORDER BY number").fetchall()
        return [(number, seen, msgspec.json.decode(body, type=Fault)) for number, seen, body in rows]

    def clear_faults(self) -> int:
        """Returns how many there were."""
        return self._db.execute("DELETE FROM faults").rowcount

    def hits(self, kinds: Sequence[str], on: str) -> list[Fault]:
        """The faults of these kinds that go wrong now; each that fits is counted."""
        found = []
        for number, seen, fault in self.faults():
            if fault.kind not in kinds or fault.on not in ("", on):
                continue
            if fault.hits(seen + 1):
                found.append(fault)
            if fault.spent(seen + 1):
                self._db.execute("DELETE FROM faults WHERE number = ?", (number,))
            else:
                self._db.execute("UPDATE faults SET seen = seen + 1 WHERE number = ?", (number,))
        return found

    def queue(self, event_id: str, kind: str, subject: str, body: bytes, *, due: float, held: bool, lost: bool) -> None:
        """A webhook to be sent at `due`, seconds since 1970."""
        state = "lost" if lost else "waiting"
        self._db.execute(
            "INSERT INTO deliveries (event_id, type, subject, body, state, held, due, attempts, problem)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, '')",
            (event_id, kind, subject, body, state, held, due),
        )

    def due(self, *, now: float, limit: int) -> list[Delivery]:
        """Webhooks whose time has come, oldest first."""
        rows = self._db.execute(
            "SELECT number, subject, body, attempts FROM deliveries WHERE state = 'waiting' AND due <= ?"
            " ORDER BY number LIMIT ?",
            (now, limit),
        )
        return [Delivery(*row) for row in rows]

    def next_due(self) -> float | None:
        """When the next webhook is to be sent."""
        row = self._one("SELECT min(due) FROM deliveries WHERE state = 'waiting'")
        return row[0] if row else None

    def sent(self, delivery: Delivery, *, now: float) -> None:
        """It was taken; the one that was held back until then is next."""
        self._mark(delivery, "sent", due=now, problem="")
        self._db.execute(
            "UPDATE deliveries SET held = 0, due = ? WHERE state = 'waiting' AND held AND subject = ?",
            (now, delivery.subject),
        )
        self._db.execute(
            "DELETE FROM deliveries WHERE state <> 'waiting' AND number <= ?", (delivery.number - DONE_DELIVERIES_MAX,)
        )

    def not_sent(self, delivery: Delivery, problem: str, *, again: float | None) -> None:
        """Try again at that time, or never."""
        self._mark(delivery, "waiting" if again is not None else "given up", due=again or 0.0, problem=problem)

    def deliveries(self, limit: int) -> list[dict[str, Any]]:
        """The newest webhooks, newest first."""
        columns = ("number", "event_id", "type", "subject", "state", "attempts", "due", "problem")
        rows = self._db.execute(
            "SELECT number, event_id, type, subject, state, attempts, due, problem FROM deliveries"
            " ORDER BY number DESC LIMIT ?",
            (limit,),
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def ledger(self, after: str) -> list[dict[str, Any]]:
        """What was held, taken and given back of LEDGER_ROWS_MAX intents, oldest first; `after` is an intent's id."""
        row = self._one("SELECT number FROM objects WHERE id = ?", after)
        rows = self._db.execute(
            f"SELECT i.body, {_AUTHORISED}, {_CAPTURED}, {_REFUNDED}, {_HELD} {_INTENTS}"
            " AND i.number > ? ORDER BY i.number LIMIT ?",
            (row[0] if row else 0, LEDGER_ROWS_MAX),
        )
        return [_ledger_row(*row) for row in rows]

    def sums(self) -> dict[str, dict[str, int]]:
        """The same of all intents together, per currency, with `net`: captured minus refunded."""
        rows = self._db.execute(
            f"SELECT json_extract(i.body, '$.currency'), count(*), sum({_AUTHORISED}), sum({_CAPTURED}),"
            f" sum({_REFUNDED}), sum({_HELD}) {_INTENTS} GROUP BY 1"
        )
        return {
            currency.upper(): {
                "intents": intents,
                "authorised": authorised,
                "captured": captured,
                "refunded": refunded,
                "held": held,
                "net": captured - refunded,
            }
            for currency, intents, authorised, captured, refunded, held in rows
        }

    def _mark(self, delivery: Delivery, state: str, *, due: float, problem: str) -> None:
        self._db.execute(
            "UPDATE deliveries SET state = ?, held = 0, due = ?, attempts = attempts + 1, problem = ? WHERE number = ?",
            (state, due, problem, delivery.number),
        )

    def _one(self, query: str, *values: Any) -> Any:
        return self._db.execute(query, values).fetchone()

    def _count(self, table: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {table}")[0])  # noqa: S608  # a name of our own


def _ledger_row(body: str, authorised: int, captured: int, refunded: int, held: int) -> dict[str, Any]:
    intent = msgspec.json.decode(body, type=Intent)
    return {
        "intent": intent.id,
        "status": intent.status,
        "currency": intent.currency.upper(),
        "metadata": intent.metadata,
        "authorised": authorised,
        "captured": captured,
        "refunded": refunded,
        "held": held,
    }
