"""The chain from the log to what is read: how late, how fast, how fast anew, each beside what bounds it.

Stages, every one on an empty database with topics of its own: `delay` (commit to visible, at fixed rates), `drain` (the
relay and the limit of aiokafka), `catch-up` (a backlog on Kafka taken by Faust doing nothing, by one worker, by two, by
Quix Streams), `live` (workers that follow while the relay publishes), `signing` (the
same with and without signatures on records) and `rebuild` (a view anew, and a bare copy of the
same events). The views of orders are kept, four rows an event; the checkout, which reacts once, stands at the end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
import uvloop
from psycopg.sql import SQL, Identifier

from cli.bench.contest import Failed, answer_of, execute
from cli.bench.delays import measure
from cli.bench.installed import Installation
from cli.bench.machine import wait_for_quiet
from cli.bench.order_log import CONTEXT, OrderLog
from cli.bench.report import goal_lines, machine_lines, ratio, shown
from cli.stack.home import PROJECT_ROOT
from cli.stack.problem import Problem
from projections import views_of

STAGES: Final = ("delay", "drain", "catch-up", "live", "signing", "rebuild")
VIEW: Final = "orders"
RATE: Final = "events_per_s"
MILLION: Final = 1_000_000
RUN_S_MAX: Final = 1_200.0
LOOK_S: Final = 0.02
SETTLE_S: Final = 8.0  # until a second worker has its share of the partitions
_TABLES: Final = [view.table for view in views_of(CONTEXT)]
_PUBLISHED: Final = "SELECT position FROM relay_checkpoint"
_APPLIED: Final = "SELECT shard, min(position) FROM view_positions WHERE view = ANY(%s) AND context = %s GROUP BY shard"

Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """One stage's database, filled: the last position of each shard, and how many events."""

    installation: Installation
    connection: psycopg.Connection[Any]
    ends: Mapping[int, int]
    events: int

    def published(self) -> int:
        """How many events are on Kafka."""
        return int(self._rows(_PUBLISHED)[0][0])

    def applied(self) -> float:
        """How many events every view has applied, roughly: shards are alike."""
        reached: dict[int, int] = dict(self._rows(_APPLIED, [_TABLES, CONTEXT]))
        shares = [min(1.0, reached[shard] / end) for shard, end in self.ends.items()]
        return self.events * sum(shares) / len(shares)

    @property
    def name(self) -> str:
        """Of the database and the topics."""
        return self.installation.variables["KONTOR_WORKER_GROUP"]

    def empty_views(self) -> None:
        """As before the first event, for the next contestant."""
        for table in _TABLES:
            self.connection.execute(SQL("TRUNCATE {}").format(Identifier(table)))
        self.connection.execute("UPDATE view_positions SET position = 0, copied = 0 WHERE view = ANY(%s)", [_TABLES])

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode(), parameters).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsBench:
    """How every stage is made."""

    installation: Installation
    events: int
    seconds: float
    rounds: int
    rates: Sequence[int]
    idle_wait_s: float
    say: Say
    quix: Path | None

    def measure(self, stages: Sequence[str]) -> list[Row]:
        """A row for each figure."""
        rows: list[Row] = []
        if "delay" in stages:
            wait_for_quiet(self.installation.home, self.idle_wait_s)
            for row in uvloop.run(measure(self.installation, self.rates, self.seconds)):
                rows.append({"stage": "delay", **row})
                self.say(f"delay {row}")
        works = {
            "drain": self._drain,
            "catch-up": self._catch_up,
            "live": self._live,
            "signing": self._signing,
            "rebuild": self._rebuild,
        }
        for number in range(1, self.rounds + 1):
            for stage, work in works.items():
                for name, rate in work() if stage in stages else ():
                    rows.append({"stage": stage, "round": number, "name": name, RATE: rate})
                    self.say(f"{stage:<10}round {number}  {name:<16}{rate:>10,.0f} events/s")
        return rows

    def _drain(self) -> Iterator[tuple[str, float]]:
        with self._filled() as place, place.installation.process("relay", log="relay-bench"):
            yield "kontor", self._rate(place.published, place.events)
        with self._filled() as place:
            yield "aiokafka", self._contestant(place, "kafka_limit")

    def _catch_up(self) -> Iterator[tuple[str, float]]:
        with self._filled() as place:
            with place.installation.process("relay", log="relay-bench"):
                self._rate(place.published, place.events)
            yield "faust", self._contestant(place, "faust_limit")
            if self.quix is not None:
                yield "quix", self._contestant(place, "quix", QUIX=str(self.quix))
            for workers in (1, 2):
                place.empty_views()
                with self._workers(place, workers, group=f"catch-up-{workers}"):
                    yield _name(workers), self._rate(place.applied, place.events)

    def _live(self) -> Iterator[tuple[str, float]]:
        for workers in (1, 2):
            with self._filled() as place, self._workers(place, workers, group="live"):
                time.sleep(SETTLE_S)
                with place.installation.process("relay", log="relay-bench"):
                    yield _name(workers), self._rate(place.applied, place.events)

    def _signing(self) -> Iterator[tuple[str, float]]:
        for name, module in (("signed", "cli.main"), ("unsigned", "cli.bench.unsigned")):
            with self._filled() as place, self._workers(place, 1, group=name, module=module):
                time.sleep(SETTLE_S)
                with place.installation.process("relay", log="relay-bench", module=module):
                    yield name, self._rate(place.applied, place.events)

    def _rebuild(self) -> Iterator[tuple[str, float]]:
        with self._filled() as place:
            wait_for_quiet(self.installation.home, self.idle_wait_s)
            began = time.perf_counter()
            place.installation.run("views", "rebuild", VIEW, timeout_s=RUN_S_MAX)
            yield "kontor", place.events / (time.perf_counter() - began)
            yield "copy", self._contestant(place, "copy_limit")

    @contextmanager
    def _filled(self) -> Iterator[Place]:
        with (
            self.installation.another() as installation,
            psycopg.connect(installation.variables["KONTOR_POSTGRES_URL"], autocommit=True) as connection,
        ):
            ends = OrderLog(connection).fill(self.events)
            # They do something about events, once; these are of the past.
            past = "UPDATE view_positions SET position = %s WHERE view IN ('checkout', 'effects')"
            connection.execute(past, [self.events])
            wait_for_quiet(self.installation.home, self.idle_wait_s)
            yield Place(installation, connection, ends, self.events)

    @contextmanager
    def _workers(self, place: Place, count: int, *, group: str, module: str = "cli.main") -> Iterator[None]:
        with ExitStack() as stack:
            for number in range(count):
                variables = place.installation.variables | {"KONTOR_WORKER_GROUP": group + place.name}
                worker = replace(place.installation, variables=variables)
                stack.enter_context(worker.process("worker", log=f"worker-bench-{number}", module=module))
            yield

    def _contestant(self, place: Place, module: str, **variables: str) -> float:
        wait_for_quiet(self.installation.home, self.idle_wait_s)
        environment = place.installation.environment | {"EVENTS": str(place.events)} | variables
        argv = (sys.executable, "-m", f"cli.bench.{module}")
        try:
            said = execute(argv, PROJECT_ROOT, environment, RUN_S_MAX)
            return float(answer_of(said, RATE)[RATE])
        except Failed as error:
            raise Problem(f"The contestant {module} failed: {error}") from error

    def _rate(self, done: Callable[[], float], events: int) -> float:
        """Events a second from when the first are done until all are; raises Problem when that takes too long."""
        give_up_at = time.perf_counter() + RUN_S_MAX
        while (first := done()) == 0:
            _look(give_up_at)
        began = time.perf_counter()
        while done() < events:
            _look(give_up_at)
        return (events - first) / (time.perf_counter() - began)


def _look(give_up_at: float) -> None:
    if time.perf_counter() > give_up_at:
        raise Problem(f"What is measured was not done after {RUN_S_MAX:.0f} s: see the logs of the processes.")
    time.sleep(LOOK_S)


def _name(workers: int) -> str:
    return "kontor" if workers == 1 else f"kontor, {workers} workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure is to be: absolute, or as a multiple of another in the same stage."""

    name: str
    stage: str
    figure: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def judge(self, figures: Mapping[tuple[str, str], float]) -> Row:
        """What was seen, and whether that is enough; None where it was not measured."""
        mine = figures.get((self.stage, self.figure))
        theirs = None if self.against is None else figures.get((self.stage, self.against))
        seen = mine if self.against is None else ratio(mine, theirs)
        met = None
        if seen is not None:
            met = seen >= self.at_least if self.at_least is not None else seen <= (self.at_most or 0.0)
        wanted = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return {"name": self.name, "wanted": wanted, "seen": seen, "met": met}


GOALS: Final = (
    Goal(name="200 commands/s: row p50 in ms", stage="delay", figure="200 postgres_p50_ms", at_most=15),
    Goal(name="200 commands/s: row p99 in ms", stage="delay", figure="200 postgres_p99_ms", at_most=50),
    Goal(
        name="live: share of a Faust worker that does nothing",
        stage="live",
        figure="kontor",
        against="faust",
        at_least=0.8,
    ),
    Goal(name="catch-up: times Quix Streams", stage="catch-up", figure="kontor", against="quix", at_least=1),
    Goal(
        name="signing: share of the live rate without",
        stage="signing",
        figure="signed",
        against="unsigned",
        at_least=0.95,
    ),
    Goal(name="relay: events/s", stage="drain", figure="kontor", at_least=20_000),
    Goal(name="rebuild: seconds for a million events", stage="rebuild", figure="seconds a million", at_most=60),
)


def judged(rows: Sequence[Row]) -> list[Row]:
    """Every goal, with what was seen: of rates the median of the rounds."""
    rates: dict[tuple[str, str], list[float]] = {}
    figures: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["stage"] == "delay":
            figures |= {("delay", f"{row['commands_per_s']} {name}"): value for name, value in row.items()}
        else:
            rates.setdefault((row["stage"], row["name"]), []).append(row[RATE])
    figures |= {key: median(values) for key, values in rates.items()}
    if faust := figures.get(("catch-up", "faust")):
        figures["live", "faust"] = faust  # the same topic, the same worker
    if rate := figures.get(("rebuild", "kontor")):
        figures["rebuild", "seconds a million"] = MILLION / rate
    return [goal.judge(figures) for goal in GOALS]


def document_as_text(document: Mapping[str, Any]) -> str:
    """All of it for a person."""
    lines = []
    for row in document["rows"]:
        if row["stage"] == "delay":
            figures = ", ".join(
                f"{name.removesuffix('_ms').replace('_', ' ')} {shown(row[name])}"
                for name in row
                if name.endswith("_ms")
            )
            lines.append(f"delay in ms at {row['commands_per_s']:>4} commands/s ({row['seen_per_s']} seen): {figures}")
    rates: dict[tuple[str, str], list[float]] = {}
    for row in document["rows"]:
        if row["stage"] != "delay":
            rates.setdefault((row["stage"], row["name"]), []).append(row[RATE])
    for (stage, name), values in rates.items():
        each_round = " ".join(f"{value:,.0f}" for value in values)
        lines.append(f"{stage:<10}{name:<20}{median(values):>10,.0f} events/s   rounds {each_round}")
    return "\n".join([*lines, "", *goal_lines(document["goals"]), "", *machine_lines(document["machine"])])
