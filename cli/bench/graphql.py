"""GraphQL from storage to the response: what an answer costs beside the bare HTTP server, plain Strawberry, and Node.

On the data of a running stack, which is only read; Node answers from tables of its own in a database that is dropped.
All servers run at once and are asked in turn, so that they share the machine's moods; ratios are what is trusted.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

import psycopg
import uvloop
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from adapters.settings import Settings
from adapters.wiring import Kontor, open_kontor
from cli.bench.graphql_servers import BARE, CACHED, COMPILED, HOST, NAMES, ORDINARY, PLAIN
from cli.bench.http_load import NOT_MODIFIED, Question, asked_once, loaded
from cli.bench.machine import wait_for_quiet
from cli.bench.report import goal_lines, machine_lines, ratio, shown
from cli.processes import environment_of
from cli.stack.home import PROJECT_ROOT
from cli.stack.problem import Problem
from domain.users import Role
from projections.catalogue import CATALOGUE
from projections.orders import ORDERS

NODE: Final = "node"
CACHED_304: Final = "cached, 304"
TRIES_MAX: Final = 50
ORDER, PAGE, SEARCH = "one order", "page of 20 orders", "product search"
DOCUMENTS: Final = {
    ORDER: "query($id: ID!) { order(id: $id) { id number status placedAt version total { amount currency } lines { sku"
    " name quantity unitPrice { amount } total { amount } } payment { status amount { amount } }"
    " customer { name email } } }",
    PAGE: "query { orders(first: 20) { nodes { id number status placedAt total { amount currency } lines { sku name"
    " quantity unitPrice { amount } total { amount } } } pageInfo { hasNextPage endCursor } } }",
    SEARCH: "query($text: String!) { products(search: $text, first: 20) { nodes { id sku name price { amount currency }"
    " stock { onHand available } categories { slug name } } pageInfo { hasNextPage endCursor } totalCount } }",
}
_PEER_LINES: Final = "id status total lines { sku quantity price }"
PEER_DOCUMENTS: Final = {
    ORDER: "query($id: ID!) { order(id: $id) { " + _PEER_LINES + " } }",
    PAGE: "{ orders { " + _PEER_LINES + " } }",
}
START_S_MAX: Final = 60.0
GOALS: Final = (
    (PAGE, "compiled: times plain Strawberry", COMPILED, PLAIN, 5.0),
    (ORDER, "compiled: times plain Strawberry", COMPILED, PLAIN, 2.0),
    (ORDER, "cached: of the bare answer", CACHED, BARE, 0.6),
    (PAGE, "cached: of the bare answer", CACHED, BARE, 0.6),
    (ORDER, "cached: times the Node peer", CACHED, NODE, 1.0),
    (PAGE, "cached: times the Node peer", CACHED, NODE, 1.0),
)

Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphqlBench:
    """How every run is made. `node` is the folder of the Node peer, built, or None."""

    settings: Settings
    node: Path | None
    clients: int
    seconds: float
    rounds: int
    idle_wait_s: float
    say: Say

    def measure(self) -> list[Row]:
        """A row for each run. Raises Problem when there is nothing to ask for, or a server answers otherwise."""
        variables, token = uvloop.run(self._prepared())
        with ExitStack() as servers:
            questions = self._questions(servers, variables, token)
            rows = []
            for number in range(1, self.rounds + 1):
                for (name, asked), question in questions.items():
                    wait_for_quiet(None, self.idle_wait_s)
                    measured = uvloop.run(loaded(question, clients=self.clients, seconds=self.seconds))
                    rows.append({"question": asked, "name": name, "round": number, **measured})
                    self.say(f"{asked:<18} {name:<11} {measured['answers_per_s']:>8,.0f} answers/s")
        return rows

    async def _prepared(self) -> tuple[dict[str, dict[str, Any]], str]:
        """The variables of every question, of what there is, and a token of somebody who may see all."""
        async with open_kontor(self.settings, name="bench") as kontor:
            token = kontor.access_tokens.issue(uuid4(), [Role.STAFF], uuid4(), now=kontor.ports.clock.now())
            order = await self._newest(kontor)
            products = await kontor.reads.where(CATALOGUE, SQL("published ORDER BY name LIMIT 1"), [])
        if order is None or not products:
            raise Problem("There are no orders or products to ask for: try `kontor import`, then measure again.")
        return {ORDER: {"id": order}, PAGE: {}, SEARCH: {"text": products[0].name.split()[-1]}}, token

    async def _newest(self, kontor: Kontor) -> str | None:
        rows = await kontor.reads.where(ORDERS, SQL("true ORDER BY placed_at DESC LIMIT 1"), [])
        return str(rows[0].id) if rows else None

    def _questions(
        self, servers: ExitStack, variables: Mapping[str, Mapping[str, Any]], token: str
    ) -> dict[tuple[str, str], Question]:
        """Every question to every server, the limit first; that all of ours answer alike is checked."""
        headers = (("authorization", f"Bearer {token}"),)
        bodies = {asked: _body(document, variables[asked]) for asked, document in DOCUMENTS.items()}
        environment = {**os.environ, **environment_of(self.settings)}
        ports = {name: servers.enter_context(serving(name, environment)) for name in NAMES if name != BARE}
        answers = {}
        for asked, body in bodies.items():
            given = {
                name: uvloop.run(asked_once(Question(port, "/graphql", headers, body)))[1]
                for name, port in ports.items()
            }
            answers[asked] = given[COMPILED]
            _require_alike(asked, given)
        told = [(b64encode(bodies[asked]).decode(), b64encode(answer).decode()) for asked, answer in answers.items()]
        ports = {BARE: servers.enter_context(serving(BARE, environment, json.dumps(told)))} | ports
        questions = {
            (name, asked): Question(port, "/graphql", headers, body)
            for asked, body in bodies.items()
            for name, port in ports.items()
        }
        for asked, body in bodies.items():
            question = questions[CACHED, asked]
            known = (*headers, ("if-none-match", uvloop.run(_validator(question))))
            questions[CACHED_304, asked] = Question(question.port, "/graphql", known, body, NOT_MODIFIED)
        if self.node is not None:
            port = servers.enter_context(_node(self.node, self.settings))
            for asked, document in PEER_DOCUMENTS.items():
                questions[NODE, asked] = Question(port, "/graphql", (), _body(document, {"id": "17"}))
        return questions


async def _validator(question: Question) -> str:
    """Of the answer once it is kept. Raises Problem when it is not within TRIES_MAX."""
    for _ in range(TRIES_MAX):
        head, _ = await asked_once(question)
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "etag":
                return value
        await asyncio.sleep(0.1)
    raise Problem("The answers are not kept; is the stack being written to? Measure when it is at rest.")


def _require_alike(asked: str, given: Mapping[str, bytes]) -> None:
    """Raises Problem where an answer is an error, or differs from the others'."""
    documents = {name: json.loads(body) for name, body in given.items()}
    if any(document.get("errors") for document in documents.values()):
        raise Problem(f"{asked} is refused: {given[ORDINARY][:300]!r}")
    # What is left of the reader's points differs from answer to answer, and nobody counts them in plain Strawberry.
    told = {name: document["data"] for name, document in documents.items()}
    if told[PLAIN] != told[COMPILED] or json.dumps(told[ORDINARY]) != json.dumps(told[COMPILED]):
        raise Problem(f"The answers to {asked} differ; is the stack being written to? Measure when it is at rest.")


def _body(document: str, variables: Mapping[str, Any]) -> bytes:
    return json.dumps({"query": document, "variables": variables}).encode()


@contextmanager
def serving(name: str, environment: Mapping[str, str], told: str = "") -> Iterator[int]:
    """A server of ours and its port; it ends with the block. Raises Problem when it does not start.

    `told` is the line that it reads first: answers of 20 orders are longer than a variable of the environment may be.
    """
    argv = [sys.executable, "-m", "cli.bench.graphql_servers", name]
    with subprocess.Popen(  # noqa: S603  # our own module
        argv, cwd=PROJECT_ROOT, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it has ended: it told why, and the port is missing
                process.stdin.write(f"{told}\n")
                process.stdin.flush()
            port = process.stdout.readline().strip()
            if not port.isdigit():
                raise Problem(f"The server {name} did not start: see what it wrote above.")
            yield int(port)
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()


@contextmanager
def _node(folder: Path, settings: Settings) -> Iterator[int]:
    """The Node peer on tables of its own, in a database that is dropped afterwards."""
    place, database, port = conninfo_to_dict(settings.postgres_url), f"bench_{uuid4().hex[:12]}", _free_port()
    pg = {f"PG{name.upper()}": str(place.get(name, "")) for name in ("host", "port", "user", "password")}
    environment = os.environ | pg | {"PGDATABASE": database, "SEED": "1", "PORT": str(port)}
    with psycopg.connect(settings.postgres_url, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
        try:
            with subprocess.Popen(["node", "server.mjs"], cwd=folder, env=environment) as process:  # noqa: S607  # on PATH
                try:
                    _wait_for(process, Question(port, "/graphql", (), _body(PEER_DOCUMENTS[PAGE], {})))
                    yield port
                finally:
                    process.terminate()
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(database)))


def _free_port() -> int:
    with socket.socket() as looking:
        looking.bind((HOST, 0))
        port: int = looking.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], question: Question) -> None:
    """Until it answers. Raises Problem when it ends, or does not within START_S_MAX."""
    give_up_at = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            asyncio.run(asked_once(question))
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise Problem("The Node peer did not start; is it installed (`npm i` in its folder)? See what it wrote above.")


def judged(rows: Sequence[Row]) -> list[Row]:
    """Every goal, with what was seen: medians of the rounds."""
    rates = _rates(rows)
    goals = []
    for asked, name, mine, theirs, least in GOALS:
        seen = ratio(rates.get((asked, mine)), rates.get((asked, theirs)))
        met = None if seen is None else seen >= least
        goals.append({"name": f"{asked}, {name}", "wanted": f"at least {least:g}", "seen": seen, "met": met})
    return goals


def _rates(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    grouped: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        grouped.setdefault((row["question"], row["name"]), []).append(row["answers_per_s"])
    return {place: median(each) for place, each in grouped.items()}


def document_as_text(document: Mapping[str, Any]) -> str:
    """All of it for a person."""
    rows, rates = document["rows"], _rates(document["rows"])
    lines = []
    for asked in DOCUMENTS:
        lines += ["", f"{asked:<20}{'answers/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'x strawberry':>14}{'of bare':>9}"]
        for name in (BARE, PLAIN, NODE, ORDINARY, COMPILED, CACHED, CACHED_304):
            rate = rates.get((asked, name))
            if rate is None:
                continue
            mine = [row for row in rows if (row["question"], row["name"]) == (asked, name)]
            p50, p99 = (median([row[key] or 0.0 for row in mine]) for key in ("p50_ms", "p99_ms"))
            times = shown(ratio(rate, rates.get((asked, PLAIN))))
            share = shown(ratio(rate, rates.get((asked, BARE))))
            lines.append(f"{name:<20}{rate:>10,.0f}{p50:>9.2f}{p99:>9.2f}{times:>14}{share:>9}")
    lines += ["", "node answers fewer fields, of tables of its own.", ""]
    return "\n".join([*lines, *goal_lines(document["goals"]), "", *machine_lines(document["machine"])]).lstrip("\n")
