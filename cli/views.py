"""`kontor views`: how far the views are, and building one again beside the one that is read.

rebuild fills a new generation from the log while the system is live; diff compares it with the one that is read;
promote reads it from then on, in one transaction; rollback takes that back. Every command may be repeated.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from adapters.view_generations import STATES, NoCandidate
from adapters.wiring import Kontor
from cli.exits import one_sentence
from cli.log_output import masked
from cli.opened import with_kontor
from cli.stack.problem import Problem
from projections import VIEWS
from projections.view import View
from streams.parking import is_poison
from streams.rebuilding import DIFFERENCES_MAX, differences, rebuild

app = typer.Typer(no_args_is_help=True, help="The views: how far they are, and building them again.")

T = TypeVar("T")

LOOK_S: Final = 0.2
PROGRESS_S: Final = 1.0
SHOWN_MAX: Final = 50
NAME = Annotated[str, typer.Argument(help="the view, as `kontor views list` names it")]
WAIT = Annotated[float, typer.Option(min=0, max=600, help="seconds to wait until it has caught up")]
AS_JSON = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


@app.callback()
def views() -> None:
    """The views: how far they are, and building them again."""


@app.command("list")
@one_sentence
def list_views(as_json: AS_JSON = False) -> None:
    """Every generation of every view: its state, how many events it has not applied, what is parked for it."""

    async def read(kontor: Kontor) -> list[dict[str, Any]]:
        return [
            await _status(kontor, generation, state)
            for view in VIEWS.values()
            for state in STATES
            if (generation := kontor.reads.generations.state(view, state)) is not None
        ]

    rows = _run(read)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['view']:<18}{row['table']:<24}{row['state']:<10}{row['behind']:>10,} behind"
              f"{row['parked']:>6} parked")  # fmt: skip


@app.command("rebuild")
@one_sentence
def rebuild_view(name: NAME) -> None:
    """Build a generation of the view from the log beside the one that is read; goes on with one that was begun.

    The system stays live. An event that cannot be applied ends it. The generation before the one read is dropped."""
    view = _view(name)
    seen = [0.0]

    def progress(done: int, of: int) -> None:
        now = time.monotonic()
        if done >= of or now - seen[0] >= PROGRESS_S:
            seen[0] = now
            print(f"{view.name}: {max(done, 0):,} of {of:,} events", file=sys.stderr, flush=True)

    async def run(kontor: Kontor) -> View[Any]:
        return await rebuild(kontor, view, progress=progress)

    try:
        candidate = _run(run)
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]  # all of them ended the same rebuild
        if not is_poison(error):
            raise
        raise Problem(
            f"An event cannot be applied, so the rebuild of {name} has ended where it was: {masked(str(error))};"
            " mend the view and run this again, or `kontor views drop`."
        ) from error
    print(f"{candidate.table} is filled and follows the log; see `kontor views diff {name}`, then promote it")


@app.command()
@one_sentence
def diff(name: NAME, as_json: AS_JSON = False) -> None:
    """Rows that differ between the generation that is read and the one beside it. Exits with 1 when some do."""
    view = _view(name)

    async def compare(kontor: Kontor) -> list[dict[str, Any]]:
        known = kontor.reads.generations
        other = known.state(view, "beside")
        if other is None:
            raise NoCandidate(f"Nothing waits beside {view.name}; run `kontor views rebuild {view.name}`.")
        found = differences(kontor, known.live(view), other)
        return [{"id": str(each.id), "columns": each.columns} async for each in found]

    rows = _run(compare)
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
    for row in [] if as_json else rows[:SHOWN_MAX]:
        print(row["id"])
        for column, (mine, theirs) in row["columns"].items():
            print(f"    {column}: {masked(mine)} -> {masked(theirs)}")
    if rows:
        more = " or more" if len(rows) >= DIFFERENCES_MAX else ""
        raise Problem(f"{len(rows)}{more} rows of {name} differ.")
    print("no differences", file=sys.stderr)


@app.command()
@one_sentence
def promote(name: NAME, wait: WAIT = 30.0) -> None:
    """Read the generation beside from now on, once it is as far as the one that is read."""
    _change_over(name, wait, forth=True)


@app.command()
@one_sentence
def rollback(name: NAME, wait: WAIT = 30.0) -> None:
    """Read the generation before again; the workers have kept it up to date."""
    _change_over(name, wait, forth=False)


@app.command()
@one_sentence
def drop(name: NAME) -> None:
    """Give up the generation that is being built or waits beside the one that is read."""
    view = _view(name)
    _run(lambda kontor: kontor.reads.generations.drop(view))
    print(f"nothing is beside {name} any more")


def _change_over(name: str, wait_s: float, *, forth: bool) -> None:
    view = _view(name)

    async def run(kontor: Kontor) -> View[Any]:
        known = kontor.reads.generations
        give_up_at = time.monotonic() + wait_s
        while not await (known.promote(view) if forth else known.rollback(view)):
            if time.monotonic() > give_up_at:
                raise Problem(
                    f"The other generation of {name} is not as far as the one that is read, after {wait_s:.0f} s; is a"
                    " worker running? Nothing was changed."
                )
            await asyncio.sleep(LOOK_S)
        return known.live(view)

    print(f"{_run(run).table} is read now")


def _view(name: str) -> View[Any]:
    if name not in VIEWS:
        raise Problem(f"There is no view {name}; there are {', '.join(VIEWS)}.")
    return VIEWS[name]


async def _status(kontor: Kontor, view: View[Any], state: str) -> dict[str, Any]:
    behind, parked = await kontor.reads.standing(view)
    return {"view": view.name, "table": view.table, "state": state, "behind": behind, "parked": parked}


def _run(work: Callable[[Kontor], Awaitable[T]]) -> T:
    try:
        return with_kontor("views", work)
    except NoCandidate as error:
        raise Problem(str(error)) from error
