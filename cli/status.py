"""`kontor status`: what runs here, where it is, and who may sign in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from cli.exits import one_sentence
from cli.logins import DEMO_LOGINS
from cli.stack.home import Home, default_home
from cli.stack.passwords import without_password
from cli.stack.problem import Problem
from cli.stack.programs import INBOX
from cli.stack.state import State, living, read_state


@one_sentence
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    secrets: Annotated[bool, typer.Option("--secrets", help="Show passwords, also those in URLs.")] = False,
) -> None:
    """Say whether everything serves, and print URLs, process ids and demo logins; their passwords with --secrets alone.

    For programs, --json has the passwords of a development, which are good on this machine alone, and none of a
    production without --secrets. Exit codes: 0 everything serves; 1 not, with the reason on stderr (--json still
    prints what there is).
    """
    home = default_home()
    state = read_state(home)
    if state is None or not (living(state.launcher) or state.pids()):
        raise Problem(f"Nothing runs in {home.path}: start it with `make run` or `kontor up`.")
    shown = secrets or (as_json and state.settings.get("KONTOR_ENVIRONMENT") != "production")
    print(json.dumps(as_object(state, secrets=shown), indent=2) if as_json else overview(state, home, secrets=shown))
    if not state.serves():
        raise Problem(_why_not(state))


def as_object(state: State, *, secrets: bool = True) -> dict[str, object]:
    """What `--json` prints; without `secrets` no password."""
    url = _url_of(state, secrets)
    return {
        "ready": state.serves(),
        "http_url": state.http_url,
        "postgres_url": url("KONTOR_POSTGRES_URL"),
        "analyst_url": url("KONTOR_POSTGRES_ANALYST_URL") or None,
        "kafka_url": url("KONTOR_KAFKA_URL"),
        "redis_url": url("KONTOR_REDIS_URL"),
        "gateway_url": _gateway_url(state),
        "smtp_url": url("KONTOR_SMTP_URL") or None,
        "inbox_url": _inbox_url(state),
        "processes": {name: pid for name, pid in state.pids().items() if name in state.expected},
        "logins": _logins(state),
    }


def overview(state: State, home: Home, *, secrets: bool = False) -> str:
    """The same for a person: plain aligned lines, so that a URL can be copied from them; without `secrets` it may be
    looked at over a shoulder."""
    url = _url_of(state, secrets)
    rows = [
        ("GraphQL", f"{state.http_url}/graphql"),
        ("PostgreSQL", url("KONTOR_POSTGRES_URL")),
        ("Kafka", url("KONTOR_KAFKA_URL")),
        ("Redis", url("KONTOR_REDIS_URL")),
        *([("Payments", f"{gateway} (kontor gateway)")] if (gateway := _gateway_url(state)) else []),
        *([("Inbox", f"{inbox} (every mail)")] if (inbox := _inbox_url(state)) else []),
        ("Logs", str(home.logs)),
        ("Processes", ", ".join(f"{name} {pid}" for name, pid in sorted(state.pids().items()))),
    ]
    lines = ["", *(f"{name:<12}{value}" for name, value in rows)]
    logins = _logins(state)
    if logins:
        lines += ["", f"{'Demo login':<12}{'email':<26}password"]
        lines += [f"{who:<12}{login['email']:<26}{login['password'] if secrets else '***'}" for who, login in
                  logins.items()]  # fmt: skip
    if not secrets and "***" in "".join(lines):
        lines += ["", "`kontor status --secrets` shows the passwords."]
    return "\n".join(lines)


def _url_of(state: State, secrets: bool) -> Callable[[str], str]:
    def url(name: str) -> str:
        value = state.settings.get(name, "")
        return value if secrets else without_password(value)

    return url


def _gateway_url(state: State) -> str | None:
    """Our own payment provider; None where another is given, or none."""
    return state.settings.get("KONTOR_STRIPE_URL") if "gateway" in state.expected else None


def _inbox_url(state: State) -> str | None:
    """The page that shows every mail, where it runs."""
    return f"http://127.0.0.1:{state.settings['KONTOR_INBOX_PORT']}" if INBOX in state.expected else None


def _logins(state: State) -> dict[str, dict[str, str]]:
    if state.settings.get("KONTOR_ENVIRONMENT") == "production":
        return {}
    return {who: {"email": login.email, "password": login.password} for who, login in DEMO_LOGINS.items()}


def _why_not(state: State) -> str:
    if living(state.launcher) is None:
        return "The launcher was killed and left these processes: `kontor up` starts again, `kontor down` stops them."
    if not state.ready:
        return "Kontor is still starting: ask again in some seconds."
    serving = {name for name, record in state.processes.items() if record.serving and living(record)}
    absent = ", ".join(sorted(set(state.expected) - serving))
    return f"Not serving at this moment: {absent or 'a process that just changed'}; the launcher starts it again."
