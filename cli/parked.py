"""`kontor parked`: events that a view or a process manager could not apply, and what is to become of them.

An event that cannot be applied parks its aggregate: it and every later event of the same aggregate wait, in order,
while all others flow. Mend what is wrong (mostly the code), then retry. A worker does it; these commands only say what
is wished.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from adapters.parked_events import ParkedEvent, ParkedEvents, Wish
from adapters.wiring import Kontor
from cli.exits import one_sentence
from cli.log_output import masked
from cli.opened import with_kontor
from cli.stack.problem import Problem

app = typer.Typer(no_args_is_help=True, help="Events that could not be applied.")

LOOK_S: Final = 0.2
AGGREGATE = Annotated[UUID, typer.Argument(help="the aggregate's id, as `kontor parked list` shows it")]
FOLLOWER = Annotated[str | None, typer.Option(help="only of this view or process manager")]
WAIT = Annotated[float, typer.Option(min=0, max=600, help="seconds to wait for a worker to do it")]
AS_JSON = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


@app.callback()
def parked() -> None:
    """Events that could not be applied."""


@app.command("list")
@one_sentence
def list_parked(follower: FOLLOWER = None, as_json: AS_JSON = False) -> None:
    """The parked aggregates: since when, how many events wait, what the first one failed with."""
    events = with_kontor("parked", lambda kontor: ParkedEvents(kontor.pool).all(follower=follower))
    aggregates = [_summary(list(group)) for _, group in groupby(events, lambda e: (e.follower, e.aggregate_id))]
    if as_json:
        print(json.dumps(aggregates, indent=2))
        return
    for each in aggregates:
        print(f"{each['follower']}  {each['aggregate_id']}  {each['event_type']} v{each['version']}"
              f"  {each['events']} waiting, {each['attempts']} attempts, since {each['parked_at']}")  # fmt: skip
        print(f"    {each['reason']}")
    if not aggregates:
        print("nothing is parked")


@app.command()
@one_sentence
def show(aggregate: AGGREGATE, follower: FOLLOWER = None) -> None:
    """An aggregate's parked events as JSON, with what the log says in them; what is personal stays sealed."""

    async def read(kontor: Kontor) -> list[dict[str, Any]]:
        records = {record.version: record for record in await kontor.log.of_aggregates([aggregate])}
        return [
            asdict(event)
            | {"schema_version": records[event.version].schema_version}
            | {"data": json.loads(records[event.version].state)}
            for event in await ParkedEvents(kontor.pool).all(follower=follower, aggregate_id=aggregate)
        ]

    events = with_kontor("parked", read)
    _require(events, aggregate)
    print(json.dumps(masked(events), indent=2, default=str))


@app.command()
@one_sentence
def retry(
    aggregate: Annotated[UUID | None, typer.Argument(help="only this aggregate")] = None,
    follower: FOLLOWER = None,
    wait: WAIT = 30.0,
) -> None:
    """Have a worker apply what is parked, in order. Exits with 1 when something stays parked."""
    with_kontor("parked", lambda kontor: _wish(kontor, "retry", follower, aggregate, wait))


@app.command()
@one_sentence
def discard(
    aggregate: AGGREGATE,
    follower: Annotated[str, typer.Option(help="the view or process manager that is to do without the event")],
    wait: WAIT = 30.0,
) -> None:
    """Give up the first parked event of an aggregate, for this follower and for ever, and apply those behind it.

    The log keeps the event. A view's row is then not the fold of its events, and `kontor verify` says so."""
    with_kontor("parked", lambda kontor: _wish(kontor, "discard", follower, aggregate, wait))


def _summary(events: list[ParkedEvent]) -> dict[str, Any]:
    first = events[0]
    return {
        "follower": first.follower,
        "aggregate_id": str(first.aggregate_id),
        "event_type": first.event_type,
        "version": first.version,
        "position": first.position,
        "events": len(events),
        "attempts": first.attempts,
        "parked_at": first.parked_at.isoformat(),
        "reason": masked(first.reason),
    }


def _require(found: Any, aggregate: UUID | None) -> None:
    if not found and aggregate is not None:
        raise Problem(f"Nothing of {aggregate} is parked; `kontor parked list` shows what is.")


async def _wish(kontor: Kontor, wish: Wish, follower: str | None, aggregate: UUID | None, wait_s: float) -> None:
    table = ParkedEvents(kontor.pool)
    wished = await table.wish(wish, follower=follower, aggregate_id=aggregate)
    _require(wished, aggregate)
    give_up_at = time.monotonic() + wait_s
    while waiting := {(name, each) for name, each, _, _ in await table.wished()} & set(wished):
        if time.monotonic() > give_up_at:
            raise Problem(
                f"No worker has done it to {len(waiting)} of {len(wished)} within {wait_s:.0f} s; is one running?"
                " The wish stands: it is done when one is."
            )
        await asyncio.sleep(LOOK_S)
    still = [each for each in await table.all(follower=follower, aggregate_id=aggregate) if each.reason]
    failed = [each for each in still if (each.follower, each.aggregate_id) in set(wished)]
    print(f"{len(wished) - len(failed)} of {len(wished)} parked aggregates flow again")
    if failed:
        first = failed[0]
        raise Problem(
            f"{len(failed)} stay parked; {first.aggregate_id} for {first.follower} at version {first.version}:"
            f" {masked(first.reason)}"
        )
