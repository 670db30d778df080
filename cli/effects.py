"""`kontor effects`: what is to be done in the world (payments, mails, deadlines, webhooks), and what became of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from adapters.deliveries_ledger import DELIVERED_KEPT_FOR, Delivery
from adapters.effects_ledger import KEPT_FOR, Effect, State
from cli.exits import one_sentence
from cli.log_output import masked
from cli.opened import with_kontor
from cli.stack.problem import Problem

if TYPE_CHECKING:
    from adapters.wiring import Kontor

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
        typer.Option(
            help=f"open: waiting or given up; done: in the last {KEPT_FOR.days} days, of webhooks"
            f" {DELIVERED_KEPT_FOR.days}"
        ),
    ] = "open",
    subject: Annotated[UUID | None, typer.Option(help="only about this order, account or other aggregate")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many, the newest first")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """The newest first: what, about whom, when it is tried next, how often it was, what it failed with."""
    states = OPEN if state == "open" else [state]

    async def newest(kontor: Kontor) -> list[Effect | Delivery]:
        effects = await kontor.effects.newest(states, subject_id=subject, limit=limit)
        deliveries = await kontor.deliveries.recent(states, subject_id=subject, limit=limit)
        both: list[Effect | Delivery] = [*effects, *deliveries]
        return sorted(both, key=lambda each: each.planned_at, reverse=True)[:limit]

    found = with_kontor("effects", newest)
    if as_json:
        shown = [{"effect": each.effect} | asdict(each) for each in found]
        print(json.dumps(masked(shown), indent=2, default=str))
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
    effect: Annotated[str | None, typer.Option(help="only this effect, as payment.capture or webhook.ENDPOINT")] = None,
) -> None:
    """Have a worker try again what was given up, for as long as it was tried before."""

    async def retried_now(kontor: Kontor) -> int:
        return await kontor.effects.retry(event, effect) + await kontor.deliveries.retry(event, effect)

    retried = with_kontor("effects", retried_now)
    if retried == 0:
        raise Problem("Nothing of that was given up; `kontor effects list --state given_up` shows what is.")
    print(f"{retried} to be tried again")
