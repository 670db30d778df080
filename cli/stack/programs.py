"""Kontor's own processes: which there are, how each is started, and when it serves.

Guarantees: they get their settings only from the environment made here, so the directory and the file system around
them do not matter. A long-running one serves when it has written its own pid into its ready file.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from adapters import secret_settings
from adapters.loopback import require_loopback
from adapters.secret_files import with_files
from cli.stack import given, postgres
from cli.stack.home import PROJECT_ROOT, Home, Secrets
from cli.stack.ports import Ports
from cli.stack.problem import Problem
from cli.stack.process import Spec
from cli.stack.servers import ServerUrls

# The parts of Kontor with a role of their own in the database; people connect as the last.
DATABASE_PARTS = ("api", "worker", "relay", "analyst")
LOOPBACK = "127.0.0.1"
SECRET_VARIABLES = secret_settings.SECRET_VARIABLES
GATEWAY = "gateway"
INBOX = "inbox"
ENVIRONMENTS = ("development", "production")
MIGRATE_TIMEOUT_S = 120.0
DEMO_TIMEOUT_S = 180.0
READY_TIMEOUT_S = 180.0  # a worker may have to wait until the one that was killed is out of its group


def kontor(command: str, *modules: str) -> tuple[str, ...]:
    """The command line of one of this program's own commands; `modules` are imported before its turn comes."""
    return (sys.executable, "-m", "cli.stack.warm", command, *modules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """What the launcher runs once the servers are up; tests put programs of their own in its place."""

    migrate: tuple[str, ...] = kontor("cli.processes:migrate", "adapters.schema", "adapters.kafka")
    services: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "relay": kontor("cli.processes:relay", "streams.relay", "adapters.wiring"),
            "worker": kontor("cli.processes:worker", "streams.worker"),
            "api": kontor("cli.processes:api", "api.app", "adapters.wiring", "uvicorn"),
            GATEWAY: kontor("cli.gateway.process:run"),
            INBOX: kontor("cli.inbox.command:inbox"),
        }
    )
    demo: tuple[str, ...] = kontor("cli.demo:demo")

    def kept_running(self) -> dict[str, tuple[str, ...]]:
        """The services of this start: our own payment provider and inbox only where no others are given."""
        left_out = {*(() if own_gateway() else (GATEWAY,)), *(() if runs_inbox() else (INBOX,))}
        return {name: argv for name, argv in self.services.items() if name not in left_out}


def environment_name(*, default: str = "development") -> str:
    """development or production; raises Problem for anything else. What `kontor up` starts is for development unless
    it is told otherwise; a process by itself is in production."""
    named = os.environ.get("KONTOR_ENVIRONMENT") or default
    if named not in ENVIRONMENTS:
        raise Problem(f"KONTOR_ENVIRONMENT is {named!r}: set it to development or production, or unset it.")
    return named


def on_all_addresses() -> bool:
    """Whether development may listen off this machine, as in a container."""
    return os.environ.get("KONTOR_DEVELOPMENT_ON_ALL_ADDRESSES", "").lower() in ("1", "true", "yes", "on")


def require_own_address() -> None:
    """Raises Problem where the API of a development would be served off this machine."""
    host = os.environ.get("KONTOR_HTTP_HOST") or LOOPBACK
    require_development_here("KONTOR_HTTP_HOST", host, environment_name())


def require_development_here(variable: str, host: str, environment: str) -> None:
    """Raises Problem where that variable has a program of development listen off this machine."""
    try:
        require_loopback(variable, host, allowed=environment == "production" or on_all_addresses())
    except ValueError as refusal:
        raise Problem(str(refusal)) from None


def own_gateway() -> bool:
    """Whether the development payment provider runs here: nobody is to pay with it in production."""
    return environment_name() == "development" and not os.environ.get("KONTOR_STRIPE_KEY")


def runs_inbox() -> bool:
    """Whether mails end on this machine: no mail server is given, and they are nobody's real mails."""
    return not os.environ.get("KONTOR_SMTP_URL") and environment_name() != "production"


def http_url(ports: Ports) -> str:
    """Where the API is reached from this machine."""
    host = os.environ.get("KONTOR_HTTP_HOST") or "127.0.0.1"
    reached = "127.0.0.1" if host in ("0.0.0.0", "::", "") else quote(host, safe=".:[]")  # noqa: S104  # all addresses include loopback
    return f"http://{reached}:{ports.http}"


def gate(home: Home, name: str) -> Path:
    """A file whose existence lets the processes go on that wait for it."""
    return home.run / f"{name}.gate"


def settings(home: Home, secrets: Secrets, urls: ServerUrls, ports: Ports) -> dict[str, str]:
    """The KONTOR_* variables of every process: what the environment says, filled up with what runs here."""
    named = {name: value for name, value in os.environ.items() if name.startswith("KONTOR_") and value}
    inbox = {
        "KONTOR_SMTP_URL": f"smtp://127.0.0.1:{ports.smtp}",
        "KONTOR_SMTP_PORT": str(ports.smtp),
        "KONTOR_INBOX_PORT": str(ports.inbox),
    }
    return {
        "KONTOR_MASTER_KEY": secrets.master_key,
        "KONTOR_JWT_KEY": secrets.jwt_key,
        # Beside a key that is named, those of this home have no say.
        "KONTOR_OTHER_JWT_KEYS": "" if "KONTOR_JWT_KEY" in named else secrets.other_jwt_keys,
        "KONTOR_RECORD_KEY": secrets.record_key,
        "KONTOR_PREVIOUS_RECORD_KEYS": "" if "KONTOR_RECORD_KEY" in named else secrets.previous_record_keys,
        "KONTOR_HTTP_HOST": LOOPBACK,
        "KONTOR_ENVIRONMENT": environment_name(),
        "KONTOR_PUBLIC_URL": http_url(ports),
        # Nobody spreads requests over several APIs here.
        "KONTOR_DRAIN_S": "0",
        **named,
        **(inbox if runs_inbox() else {}),
        "KONTOR_HOME": str(home.path),
        "KONTOR_POSTGRES_URL": urls.postgres,
        **_role_urls(secrets, ports),
        "KONTOR_KAFKA_URL": urls.kafka,
        "KONTOR_REDIS_URL": urls.redis,
        "KONTOR_HTTP_PORT": str(ports.http),
        **(_gateway_settings(home, secrets, ports) if own_gateway() else {}),
    }


def _role_urls(secrets: Secrets, ports: Ports) -> dict[str, str]:
    """For a server that was given these are given, too, or everything connects as its owner."""
    if given.postgres_url() is not None:
        return {}
    return {
        _role_variable(part): postgres.role_url(ports.postgres, secrets.postgres_password, part)
        for part in DATABASE_PARTS
    }


def _role_variable(part: str) -> str:
    return f"KONTOR_POSTGRES_{part.upper()}_URL"


def of_part(name: str, variables: dict[str, str]) -> dict[str, str]:
    """The variables of the service of that name, which connects to the database as its own role where it has one and
    knows no other."""
    roles = {_role_variable(part) for part in DATABASE_PARTS} | {"KONTOR_POSTGRES_OWNER_URL"}
    url = variables.get(_role_variable(name)) or variables["KONTOR_POSTGRES_URL"]
    known = {key: value for key, value in variables.items() if key not in roles}
    return {**known, **dict.fromkeys(roles & variables.keys(), ""), "KONTOR_POSTGRES_URL": url}


def _gateway_settings(home: Home, secrets: Secrets, ports: Ports) -> dict[str, str]:
    """For the gateway, and for those who pay through it."""
    return {
        "KONTOR_GATEWAY_HOST": "127.0.0.1",
        "KONTOR_GATEWAY_PORT": str(ports.gateway),
        "KONTOR_GATEWAY_FILE": str(home.gateway / "gateway.sqlite"),
        # As in `api.rest.payments`, which is not imported here for the time it takes.
        "KONTOR_GATEWAY_WEBHOOK_URL": f"{http_url(ports)}/v1/payments/stripe/webhook",
        "KONTOR_STRIPE_URL": f"http://127.0.0.1:{ports.gateway}",
        "KONTOR_STRIPE_KEY": secrets.gateway_key,
        "KONTOR_STRIPE_WEBHOOK_SECRET": secrets.gateway_webhook_secret,
    }


def one_shot(home: Home, name: str, argv: tuple[str, ...], variables: dict[str, str], *, timeout_s: float) -> Spec:
    """A process that does its work, once it may, and ends."""
    return Spec(
        name=name,
        argv=argv,
        log=home.log(name),
        marker=_marker(name, argv),
        env=_environment(name, variables),
        cwd=PROJECT_ROOT,
        ready_timeout_s=timeout_s,
    )


def service(home: Home, name: str, argv: tuple[str, ...], variables: dict[str, str]) -> Spec:
    """A process that runs until it is stopped."""
    ready_file = home.run / f"{name}.ready"

    async def ready(pid: int) -> bool:
        try:
            return ready_file.read_text().strip() == str(pid)
        except OSError:
            return False

    return Spec(
        name=name,
        argv=argv,
        log=home.log(name),
        marker=_marker(name, argv),
        env=_environment(name, {**variables, "KONTOR_READY_FILE": str(ready_file)}),
        cwd=PROJECT_ROOT,
        ready=ready,
        ready_timeout_s=READY_TIMEOUT_S,
        # What an earlier process wrote must not count for the next one.
        prepare=lambda: ready_file.unlink(missing_ok=True),
    )


def _marker(name: str, argv: tuple[str, ...]) -> str:
    return next((part for part in argv[1:] if name in part), argv[-1])


def _environment(name: str, variables: dict[str, str]) -> dict[str, str]:
    """What surrounds the launcher, and these variables, without the secrets that the process has no use for."""
    outside = {name: value for name, value in os.environ.items() if name != "KONTOR_READY_FILE"}
    everything = {**outside, "PYTHONUNBUFFERED": "1", **variables}
    process = name.partition(" ")[0]  # of "worker of the new code"
    if process not in secret_settings.PROCESSES:
        return everything
    return secret_settings.without_foreign_secrets(process, everything)


def require_fit_for_production(variables: dict[str, str]) -> None:
    """Raises Problem where each process would refuse what it is given: before any is started."""
    from cli.installation import settings_from  # noqa: PLC0415  # imported when asked for: start-up time

    settings_from(variables)


def take_secret_files() -> None:
    """Put what the files of secrets hold into this process's environment, in place of their names: from here on they
    are given to those who need them. Raises Problem."""
    try:
        read = with_files(os.environ)
    except ValueError as problem:
        raise Problem(str(problem)) from None
    for name in os.environ.keys() - read.keys():
        del os.environ[name]
    os.environ.update(read)
