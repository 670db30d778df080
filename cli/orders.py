"""`kontor orders`: what operators ask about orders."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from adapters.stuck_orders import stuck_orders
from cli.exits import one_sentence
from cli.log_output import masked
from cli.opened import with_kontor

app = typer.Typer(no_args_is_help=True, help="Orders that need somebody's attention.")


@app.callback()
def orders() -> None:
    """Orders that need somebody's attention."""


@app.command()
@one_sentence
def stuck(
    older_than: Annotated[float, typer.Option(min=0, help="seconds without a change that are usual")] = 60.0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many, the oldest first")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """Orders that have not moved for a time, or whose money has not, and why."""
    found = with_kontor("orders", lambda kontor: stuck_orders(kontor.reads, older_than_s=older_than, limit=limit))
    if as_json:
        print(json.dumps(masked([asdict(each) for each in found]), indent=2, default=str))
        return
    for each in found:
        print(
            f"{each.number}  {each.id}  {each.status} since {each.since:%Y-%m-%d %H:%M:%S}\n    {masked(each.reason)}"
        )
    if not found:
        print(f"no order has stood still for more than {older_than:g} s")
