"""`kontor effects`: what is to be done in the world (payments, mails, deadlines), and what became of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal
from uuid import UUID

import typer

from adapters.effects_ledger import KEPT_FOR, State
from cli.exits import one_sentence
from cli.log_output import masked
from cli.opened import with_kontor
from cli.stack.problem import Problem

app = typer.Typer(no_args_is_help=True, help="What is to be done in the world, and what became of it.")

OPEN: list[State] = ["waiting", "given_up"]


@app.callback()
def effects() -> None:
    """What is to be done in the world, and what became of it."""


@app.command("list")
@one_sentence
def list_effects(
    state: Annotated[
        Literal["open", "waiting", "given_up", "done"],
        typer.Option(help=f"open: waiting or given up; done: in the last {KEPT_FOR.days} days"),
    ] = "open",
    subject: Annotated[UUID | None, typer.Option(help="only about this order or account")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many, the newest first")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """The newest first: what, about whom, when it is tried next, how often it was, what it failed with."""
    states = OPEN if state == "open" else [state]
    found = with_kontor("effects", lambda kontor: kontor.effects.newest(states, subject_id=subject, limit=limit))
    if as_json:
        print(json.dumps(masked([asdict(each) for each in found]), indent=2, default=str))
        return
    for each in found:
        when = f", due {each.due_at:%Y-%m-%d %H:%M:%S}" if each.state == "waiting" else ""
        print(f"{each.effect}  about {each.subject_id}  of event {each.event_id}")
        print(f"    {each.state}{when}, {each.attempts} attempts")
        if each.last_error:
            print(f"    {masked(each.last_error)}")
    if not found:
        print(f"nothing is {state.replace('_', ' ')}")


@app.command()
@one_sentence
def retry(
    event: Annotated[UUID | None, typer.Argument(help="only what this event has planned")] = None,
    effect: Annotated[str | None, typer.Option(help="only this effect, as payment.capture")] = None,
) -> None:
    """Have a worker try again what was given up, for as long as it was tried before."""
    retried = with_kontor("effects", lambda kontor: kontor.effects.retry(event, effect))
    if retried == 0:
        raise Problem("Nothing of that was given up; `kontor effects list --state given_up` shows what is.")
    print(f"{retried} to be tried again")
