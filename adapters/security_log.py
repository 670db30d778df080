"""The security log: who asked for what, how it ended, from which address, in which session and request.

One logger, a stable name for each line (`commands.security_events`), and a count of each name and outcome, which is
never left out. Lines of one name and address are bounded, so that a flood of refusals fills no disk. A line has ids,
names of ours and addresses, never what a client wrote besides.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from prometheus_client import Counter

from adapters.metrics import REGISTRY
from commands.actors import Actor
from commands.security_events import DONE, EVENT_OF, About, SecurityEvent, refusal_of

log = structlog.get_logger("security")
COUNTED: Final = Counter(
    "kontor_security_events", "Lines of the security log, also those left out of it.", ("name", "outcome"),
    registry=REGISTRY,
)  # fmt: skip
TEXT_LENGTH_MAX: Final = 200
SUBJECTS_MAX: Final = 20
LINES_BURST: Final = 20  # of one name and address, and LINES_PER_S after them
LINES_PER_S: Final = 1.0
ADDRESSES_MAX: Final = 10_000


class Origin(NamedTuple):
    """Where a request comes from."""

    address: str = ""
    session_id: UUID | None = None


_origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039  # a tuple never changes
_allowed: OrderedDict[tuple[str, str], tuple[float, float, int]] = OrderedDict()


def asked_from(address: str, session_id: UUID | None = None) -> None:
    """What is told from now on in this task was asked from here."""
    _origin.set(Origin(address, session_id))


def tell(
    event: SecurityEvent, *, who: str, what: str, outcome: str = DONE, subjects: Sequence[str] = (), **more: object
) -> None:
    """One security event: counted, and a line unless there were too many of its name and address."""
    COUNTED.labels(event.value, outcome).inc()
    origin = _origin.get()
    left_out = _left_out(event.value, origin.address)
    if left_out is None:
        return
    about = list(dict.fromkeys(subjects))
    line = {
        "who": bounded(who),
        "what": bounded(what),
        "outcome": outcome,
        "address": bounded(origin.address) or None,
        "session_id": None if origin.session_id is None else str(origin.session_id),
        "subjects": [bounded(each) for each in about[:SUBJECTS_MAX]] or None,
        "subjects_left_out": max(0, len(about) - SUBJECTS_MAX) or None,
        "lines_left_out": left_out or None,
        **more,
    }
    shown = {name: value for name, value in line.items() if value is not None}
    (log.info if outcome == DONE else log.warning)(event.value, **shown)


def bounded(text: str) -> str:
    """The text of at most TEXT_LENGTH_MAX characters, in which what is not printable is escaped: one line is one
    event, whatever a client sends."""
    cut = text[:TEXT_LENGTH_MAX]
    return cut if cut.isprintable() else "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut
    )  # fmt: skip


class StructuredSecurityLog:
    """See `commands.security_events.SecurityLog`."""

    @contextmanager
    def watched(self, what: str, actor: Actor) -> Iterator[About]:
        """See `commands.security_events.SecurityLog.watched`."""
        event, subjects = EVENT_OF.get(what), About()
        try:
            yield subjects
        except Exception as error:
            refused, outcome = refusal_of(error)
            if refused is not None or event is not None:
                tell(refused or event or SecurityEvent.RIGHT_REFUSED, who=actor.name, what=what, outcome=outcome,
                     subjects=subjects)  # fmt: skip
            raise
        if event is not None:
            outcome = DONE if subjects.withheld is None else subjects.withheld.code.lower()
            tell(event, who=actor.name, what=what, outcome=outcome, subjects=subjects)


def _left_out(name: str, address: str) -> int | None:
    """How many lines were left out since the last one; None when this one is, too."""
    now, key = time.monotonic(), (name, address)
    lines, then, missing = _allowed.pop(key, (float(LINES_BURST), now, 0))
    lines = min(float(LINES_BURST), lines + (now - then) * LINES_PER_S)
    allowed = lines >= 1
    _allowed[key] = (lines - 1 if allowed else lines, now, 0 if allowed else missing + 1)
    if len(_allowed) > ADDRESSES_MAX:
        _allowed.popitem(last=False)
    return missing if allowed else None
