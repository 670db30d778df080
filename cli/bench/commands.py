"""The commands `kontor bench append` and `kontor bench growth`."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.bench import machine
from cli.bench.contest import Contest, Run
from cli.bench.contestants import APPEND, DECIDE, NAMES, ORDER, chosen, peers_folder
from cli.bench.growth import EVENTS_MIN, Growth, require_room
from cli.bench.report import document_as_text, flatness, growth_as_text, judged, rows_of
from cli.bench.server import Server, given_server, own_server
from cli.exits import one_sentence
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
