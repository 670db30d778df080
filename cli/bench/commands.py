"""The commands of `kontor bench`."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.bench import machine
from cli.bench.checkout import CheckoutBench
from cli.bench.checkout import document_as_text as checkout_as_text
from cli.bench.checkout import judged as judged_checkout
from cli.bench.contest import Contest, Run
from cli.bench.contestants import APPEND, DECIDE, NAMES, ORDER, chosen, peers_folder
from cli.bench.graphql import GraphqlBench
from cli.bench.graphql import document_as_text as graphql_as_text
from cli.bench.graphql import judged as judged_graphql
from cli.bench.growth import EVENTS_MIN, Growth, require_room
from cli.bench.installed import own_installation
from cli.bench.mix import CUSTOMERS_TO_STAFF, MixBench
from cli.bench.mix import document_as_text as mix_as_text
from cli.bench.mix import judged as judged_mix
from cli.bench.report import document_as_text, flatness, growth_as_text, judged, rows_of
from cli.bench.server import Server, given_server, own_server
from cli.bench.views import STAGES, ViewsBench
from cli.bench.views import document_as_text as views_as_text
from cli.bench.views import judged as judged_views
from cli.exits import one_sentence
from cli.installation import load_settings
from cli.stack.home import default_home
from cli.stack.problem import Problem

DECIDE_WRITERS = 32
IDLE_WAIT_S = 15.0

IdleWait = Annotated[float, typer.Option(min=0, max=600, help="seconds to wait for a quiet machine before a run")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def bench() -> None:
    """Measure the event store on this machine: beside others, and as the log grows.

    Exit codes: 0 measured, whether goals are met or not; 1 not, one sentence on stderr says why."""


def say(text: str) -> None:
    """Progress, beside the answer on stdout."""
    print(text, file=sys.stderr, flush=True)


def numbers(text: str, option: str, *, least: int = 1) -> list[int]:
    """The whole numbers that an option lists; raises Problem for anything else, or one below `least`."""
    try:
        listed = [int(part) for part in text.split(",")]
    except ValueError:
        listed = [0]
    if min(listed) < least:
        raise Problem(f"{option} is {text!r}: give whole numbers of {least:,} or more, with commas between them.")
    return listed


def place_of(url: str | None) -> AbstractContextManager[Server]:
    """Where to measure: on the server that was given, else on one of our own beside the installation's data."""
    return given_server(url) if url else own_server(default_home().path)


@app.command("append")
@one_sentence
def append(
    *,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="runs of each contestant, in turn")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="how long each run is measured")] = 3.0,
    writers: Annotated[str, typer.Option(help="concurrent writers, a series for each number")] = "1,8,32,128",
    only: Annotated[str, typer.Option(help=f"contestants: some of {','.join(NAMES)}; all when empty")] = "",
    mode: Annotated[
        str, typer.Option(help="all (with decide at 32 writers, and the order), append, decide or order")
    ] = "all",
    peers_built: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="where the peers are built. Their folder may be read-only, so: copy it, run `./run.sh build` in the "
            "copy's axon and `npm i` in its emmett and messagedb, and name the copy here",
        ),
    ] = None,
    postgres_url: Annotated[
        str | None,
        typer.Option(help="measure on this server, in databases of its own that are dropped, not on a temporary one"),
    ] = None,
    idle_wait: IdleWait = IDLE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Durable commits a second and their latency: Kontor, the stock library, a limit and peers, alternating.

    All do the same: each writer appends one event of about 300 bytes a commit to streams of its own, with the
    expected version, and begins a new stream every 20 events. Peers count as they come: Axon after 3 s of warm-up,
    Emmett and Message DB from the first commit, ours after 0.5 s. Trust ratios, and only of a quiet machine.

    The peers are looked for in --peers-built, else in KONTOR_PEERS, else in shared/peers beside the project.

    Exit codes: 0 measured, whether goals are met or not; 1 not, one sentence on stderr says why."""
    if mode not in ("all", APPEND, DECIDE, ORDER):
        raise Problem(f"--mode is {mode!r}: give all, append, decide or order.")
    series = numbers(writers, "--writers")
    with place_of(postgres_url) as server:
        present, left_out = chosen(only, peers_folder(peers_built), server_is_ours=server.folder is not None)
        for sentence in left_out:
            say(sentence)
        contest = Contest(server, seconds, rounds, idle_wait, say)
        document = measured(contest, contest.install(present), mode, series)
    print(json.dumps(document, indent=2) if as_json else document_as_text(document))


def measured(contest: Contest, present: list[Any], mode: str, series: list[int]) -> dict[str, Any]:
    """Every series that the mode asks for, as the document that is printed."""
    describing = machine.described(contest.server)
    appends: list[Run] = []
    decides: list[Run] = []
    if mode in ("all", APPEND):
        for writers in series:
            appends += contest.all_rounds(present, APPEND, writers)
    for writers in series if mode == DECIDE else [DECIDE_WRITERS] if mode == "all" and DECIDE_WRITERS in series else []:
        decides += contest.all_rounds(present, DECIDE, writers)
    orders = contest.once(present, ORDER) if mode in ("all", ORDER) else {}
    rows, decide = rows_of(appends), rows_of(decides)
    return {
        "machine": describing,
        "rows": rows,
        "decide": decide,
        "order_500_lines": orders,
        "goals": judged(rows, decide),
    }


@app.command("growth")
@one_sentence
def growth(
    *,
    events: Annotated[str, typer.Option(help="sizes of the log to measure at, in events")] = "1000000,3000000,10000000",
    rounds: Annotated[int, typer.Option(min=1, max=100, help="runs of appends at each size")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="how long each run of appends is measured")] = 3.0,
    idle_wait: IdleWait = IDLE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Appending, loading and reading the tail as the log grows: flat within 20 % of the first size, or not.

    Fills a log on a temporary server, 10 million events are about 9 GB, and measures at each size: appends by 32
    writers, loads of aggregates of 20 events and of one of 10,000, without the cache, and the 500 events after a recent
    position, of the log and of one shard. Takes a minute or so per million events.

    Exit codes: 0 measured, flat or not; 1 not, one sentence on stderr says why."""
    sizes = numbers(events, "--events", least=EVENTS_MIN)
    home = default_home().path
    require_room(home.parent, max(sizes))
    with own_server(home) as server:
        describing = machine.described(server)
        rows = Growth(server, seconds, rounds, idle_wait, say).measure(sizes)
    document = {"machine": describing, "rows": rows, "flat": flatness(rows)}
    print(json.dumps(document, indent=2) if as_json else growth_as_text(document))


@app.command("views")
@one_sentence
def views(
    *,
    stages: Annotated[str, typer.Option(help=f"some of {','.join(STAGES)}")] = ",".join(STAGES),
    events: Annotated[int, typer.Option(min=1_000, help="events in the log of every stage but delay")] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="runs of every stage but delay")] = 1,
    rates: Annotated[str, typer.Option(help="commands a second, a run of delay for each")] = "50,200,500",
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="how long each delay is measured")] = 10.0,
    quix: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="where Quix Streams is, to be compared with: `pip install --target FOLDER quixstreams`",
        ),
    ] = None,
    idle_wait: IdleWait = IDLE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """From the log to what is read: delays, the relay, workers that catch up and follow, a rebuild.

    Starts an installation of its own, and deletes it. The limits are Faust with an agent that does nothing, aiokafka
    with records that are in memory, and a bare copy of the same events; the rival is Quix Streams with the same writes.

    Exit codes: 0 measured, whether goals are met or not; 1 not, one sentence on stderr says why."""
    wanted = stages.split(",")
    if unknown := [stage for stage in wanted if stage not in STAGES]:
        raise Problem(f"--stages names {unknown[0]!r}: give some of {', '.join(STAGES)}.")
    series = numbers(rates, "--rates")
    if quix is None and "catch-up" in wanted:
        say("quix is left out: install it with `pip install --target FOLDER quixstreams` and give --quix FOLDER.")
    with own_installation(default_home().path) as installation:
        bench = ViewsBench(
            installation=installation, events=events, seconds=seconds, rounds=rounds, rates=series,
            idle_wait_s=idle_wait, say=say, quix=None if quix is None else quix.resolve(),
        )  # fmt: skip
        describing = machine.described(installation.server)
        rows = bench.measure(wanted)
    document = {"machine": describing, "events": events, "rows": rows, "goals": judged_views(rows)}
    print(json.dumps(document, indent=2) if as_json else views_as_text(document))


@app.command("checkout")
@one_sentence
def checkout(
    *,
    orders: Annotated[int, typer.Option(min=1, max=100_000, help="orders of every run")] = 1_000,
    skus: Annotated[int, typer.Option(min=1, max=10_000, help="SKUs that they are spread over")] = 1_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="runs of each, in turn")] = 1,
    flush_ms: Annotated[
        float, typer.Option(min=0, max=100, help="let each flush to disk take so much longer, for both")
    ] = 0.0,
    idle_wait: IdleWait = IDLE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """From placing an order to CONFIRMED, with its payment: over many SKUs and all on one, beside a plain SQL checkout.

    Starts an installation of its own, with its payment provider, and deletes it. The rival is what a careful shop
    without events writes: `SELECT ... FOR UPDATE`, the same payment at the same provider, an update. Its buyers of one
    SKU wait for each other's flush, so how long one takes decides: see --flush-ms.

    Exit codes: 0 measured, whether goals are met or not; 1 not, one sentence on stderr says why."""
    with own_installation(default_home().path) as installation:
        bench = CheckoutBench(
            installation=installation, orders=orders, skus=skus, rounds=rounds, idle_wait_s=idle_wait, say=say
        )
        describing = machine.described(installation.server) | {"flush_slower_by_ms": flush_ms}
        installation.slow_flushes(flush_ms)
        rows = bench.measure()
    document = {"machine": describing, "orders": orders, "rows": rows, "goals": judged_checkout(rows)}
    print(json.dumps(document, indent=2) if as_json else checkout_as_text(document))


@app.command("graphql")
@one_sentence
def graphql(
    *,
    node: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="where the Node peer is installed: a copy of the peers' graphql_node after `npm i`",
        ),
    ] = None,
    clients: Annotated[int, typer.Option(min=1, max=1_000, help="connections that ask without a pause")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="how long each run is measured")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="runs of each, in turn")] = 3,
    idle_wait: IdleWait = 0.0,
    as_json: AsJson = False,
) -> None:
    """GraphQL answers a second, from storage to the response: one order, a page of 20 with lines, a search.

    Reads what the running stack has (`kontor up`, `kontor import`), with servers of its own beside it. `bare` answers
    the same bytes without looking, `strawberry` is the same schema and loaders without caches, `ordinary` ours with
    parsing and validation cached, `compiled` ours without kept answers, `cached` ours as it runs, asked for the same
    again and again, `cached, 304` the same by clients that have the answer, `node` Mercurius with its JIT on tables of
    its own.

    Exit codes: 0 measured, whether goals are met or not; 1 not, one sentence on stderr says why."""
    settings = load_settings("bench")
    if node is None:
        say("node is left out: give --node FOLDER, where graphql_node of the peers is installed.")
    bench = GraphqlBench(
        settings=settings, node=node, clients=clients, seconds=seconds, rounds=rounds, idle_wait_s=idle_wait, say=say
    )
    with given_server(settings.postgres_url) as server:
        describing = machine.described(server)
    rows = bench.measure()
    document = {"machine": describing, "rows": rows, "goals": judged_graphql(rows)}
    print(json.dumps(document, indent=2) if as_json else graphql_as_text(document))


@app.command("mix")
@one_sentence
def mix(
    *,
    rate: Annotated[float, typer.Option(min=1, max=600_000, help="requests a minute")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.1, max=3_600, help="how long each run is measured")] = 30.0,
    customers: Annotated[int, typer.Option(min=1, max=1_000, help="people who buy; one of STAFF for each six")] = 24,
    seed: Annotated[int, typer.Option(help="draws the arrivals and what is asked")] = 1,
    idle_wait: IdleWait = IDLE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """What people wait under an open loop: 90 % reads, 10 % mutations, signed in, everything on this machine.

    Asks the running stack (`kontor up`), and writes products and orders that stay there; not in production. Arrivals
    are Poisson and do not wait for answers; latencies count from the scheduled arrival; every answer is checked. The
    limit is the bare HTTP server under the same arrivals in the same run.

    Exit codes: 0 measured, whether goals are met or not; 1 not, one sentence on stderr says why."""
    settings = load_settings("bench")
    bench = MixBench(
        settings=settings, http_url=f"http://{settings.http_host}:{settings.http_port}", rate=rate, seconds=seconds,
        customers=customers, seed=seed, idle_wait_s=idle_wait, say=say,
    )  # fmt: skip
    with given_server(settings.postgres_url) as server:
        describing = machine.described(server)
    rows = bench.measure()
    document = {
        "machine": describing, "requests_per_minute": rate, "seconds": seconds,
        "people": customers + max(2, customers // CUSTOMERS_TO_STAFF), "rows": rows, "goals": judged_mix(rows),
    }  # fmt: skip
    print(json.dumps(document, indent=2) if as_json else mix_as_text(document))
