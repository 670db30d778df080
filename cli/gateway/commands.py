"""`kontor gateway`: run the development payment provider; tell it what to get wrong; see what it knows."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import typer

from cli.exits import one_sentence
from cli.stack.home import default_home, read_secrets
from cli.stack.problem import Problem
from cli.stack.state import read_state

ANSWER_S_MAX: Final = 10.0
FAULTS_PATH: Final = "/_gateway/faults"

app = typer.Typer(no_args_is_help=False, help="A payment provider for development.")


@app.callback(invoke_without_command=True)
def gateway(context: typer.Context) -> None:
    """Serve a payment provider for development, that speaks a part of Stripe's protocol; no money moves.

    Settings: KONTOR_GATEWAY_HOST, KONTOR_GATEWAY_PORT, KONTOR_GATEWAY_FILE, KONTOR_GATEWAY_WEBHOOK_URL, and the
    KONTOR_STRIPE_KEY and KONTOR_STRIPE_WEBHOOK_SECRET of its clients. `kontor up` starts it by itself.
    """
    if context.invoked_subcommand is None:
        from cli.gateway.process import run  # noqa: PLC0415  # imported when asked for: start-up time

        run()


@app.command()
@one_sentence
def tell(  # noqa: PLR0917  # the options of a command line
    kind: Annotated[
        str,
        typer.Argument(
            help="decline, delay, hang, answer, webhook_twice, webhook_lose, webhook_late or webhook_reorder."
        ),
    ],
    on: Annotated[str, typer.Option(help="Only this operation (create, confirm, ...) or type of webhook.")] = "",
    when: Annotated[str, typer.Option(help="hang, answer: `before` or `after` it is done.")] = "after",
    times: Annotated[int, typer.Option(help="How many times.")] = 1,
    every: Annotated[int | None, typer.Option(help="Each n-th time, until cleared, instead of --times.")] = None,
    seconds: Annotated[float, typer.Option(help="delay, webhook_late: for how long.")] = 1.0,
    status: Annotated[int, typer.Option(help="answer: 400, 409, 429, 500 or 503.")] = 500,
    code: Annotated[str, typer.Option(help="decline: the decline code.")] = "generic_decline",
    keep: Annotated[bool, typer.Option("--keep", help="answer: the same for repetitions of the key.")] = False,
) -> None:
    """Have the running gateway get something wrong."""
    fault = {
        "kind": kind,
        "on": on,
        "when": when,
        "times": times,
        "every": every,
        "seconds": seconds,
        "status": status,
        "code": code,
        "keep": keep,
    }
    _print(_ask("POST", FAULTS_PATH, fault))


@app.command()
@one_sentence
def faults(clear: Annotated[bool, typer.Option("--clear", help="Forget them all.")] = False) -> None:
    """List what the running gateway will get wrong."""
    _print(_ask("DELETE" if clear else "GET", FAULTS_PATH))


@app.command()
@one_sentence
def ledger() -> None:
    """What was authorised, captured and refunded, in sum and per payment, as JSON."""
    _print(_ask("GET", "/_gateway/ledger"))


@app.command()
@one_sentence
def webhooks() -> None:
    """The newest webhooks and what became of them, as JSON."""
    _print(_ask("GET", "/_gateway/webhooks"))


@app.command()
@one_sentence
def complete(
    intent: Annotated[str, typer.Argument(help="The intent that waits: pi_...")],
    refuse: Annotated[bool, typer.Option("--refuse", help="The customer, or the bank, does not agree.")] = False,
) -> None:
    """Do what an intent waits for: the customer, or the bank, agrees."""
    _print(_ask("POST", f"/_gateway/payment_intents/{intent}/complete", {"succeeds": not refuse}))


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    url, key = _place()
    request = Request(  # noqa: S310  # an address of our own settings
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}"},
    )
    try:
        with urlopen(request, timeout=ANSWER_S_MAX) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError as error:
        raise Problem(f"The gateway at {url} refuses: {_message(error)}") from None
    except (URLError, OSError, ValueError) as error:
        raise Problem(
            f"No gateway answers at {url} ({getattr(error, 'reason', error)}): start it with `kontor up`."
        ) from None


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code}, which is not how `kontor gateway` answers: does KONTOR_STRIPE_URL name one?"


def _place() -> tuple[str, str]:
    """URL and key of the gateway: of the environment, else of the stack that runs here."""
    url, key = os.environ.get("KONTOR_STRIPE_URL"), os.environ.get("KONTOR_STRIPE_KEY")
    if url and key:
        return url.rstrip("/"), key
    home = default_home()
    state, secrets = read_state(home), read_secrets(home)
    if state is None or secrets is None or "gateway" not in state.pids():
        raise Problem(
            f"No gateway runs in {home.path}: start it with `kontor up`, or set KONTOR_STRIPE_URL and "
            "KONTOR_STRIPE_KEY."
        )
    return state.settings["KONTOR_STRIPE_URL"], secrets.gateway_key


def _print(shown: Any) -> None:
    print(json.dumps(shown, indent=2))
