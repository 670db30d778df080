"""The long-running processes and the one-shot that prepares the servers for them, each as one command."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from adapters.settings import Settings, listed
from adapters.settings_review import accepted
from cli.exits import one_sentence
from cli.installation import load_settings
from cli.log_output import log_to_stderr
from cli.stack.home import default_home
from cli.stack.problem import Problem

OPEN_FILES: Final = 8_192
BACKLOG: Final = 2_048  # as uvicorn has for a port that it opens itself
# What a loop makes is mostly gone when its turn ends. The collector's default, a look every 700 objects, finds what is
# in use, again and again: it took a fifth of the time of a worker under load.
COLLECT_AFTER: Final = (20_000, 20, 50)


@one_sentence
def migrate() -> None:
    """Bring tables, roles and topics to this version; safe to repeat, and beside processes that work."""
    from adapters.database_roles import RolesRefused  # noqa: PLC0415  # imported when asked for: start-up time
    from adapters.kafka import WrongPartitions, ensure_topics  # noqa: PLC0415
    from adapters.master_keys import WrongMasterKey  # noqa: PLC0415
    from adapters.preparing import prepare_database  # noqa: PLC0415
    from adapters.schema import MigrationChanged, SchemaLocked  # noqa: PLC0415

    settings = load_settings("migrate")

    async def prepare() -> None:
        try:
            prepared = await prepare_database(settings)
            created = await ensure_topics(
                settings.brokers,
                prefix=settings.topic_prefix,
                replication_factor=settings.topic_replication_factor,
                min_insync_replicas=settings.topic_min_insync_replicas,
            )
        except (MigrationChanged, SchemaLocked, WrongPartitions, RolesRefused, WrongMasterKey) as error:
            raise Problem(str(error)) from error
        done = {
            "migrations applied": prepared.applied,
            "topics created": created,
            "roles granted": prepared.roles,
        }
        print("; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in done.items()))

    uvloop.run(prepare())


def relay() -> None:
    """Publish the log to Kafka and extend its hash chain; one process leads, more wait for it to fail. Ends on SIGTERM
    or Ctrl-C."""
    from adapters.relay_store import PostgresRelayStore  # noqa: PLC0415
    from adapters.topics import KafkaTopics  # noqa: PLC0415
    from streams import hash_chain  # noqa: PLC0415
    from streams.relay import Relay  # noqa: PLC0415

    settings = _start("relay")

    async def lead() -> None:
        async with _opened(settings, "relay") as kontor:
            store = PostgresRelayStore(settings.postgres_url, kontor.log)
            async with asyncio.TaskGroup() as group:
                topics = KafkaTopics(settings, kontor.signatures)
                group.create_task(Relay(store, topics, on_leading=_announce(settings)).run())
                group.create_task(hash_chain.extend(kontor.hash_chain), name="hash-chain")

    _until_signalled(lead)


@one_sentence
def worker() -> None:
    """Fold the topics into the views and drive the checkout; more processes share the partitions."""
    settings = _start("worker")
    # Faust's app is a module: it reads the settings from the environment when it is imported.
    known = environment_of(settings)
    os.environ.update({name: value for name, value in known.items() if not os.environ.get(f"{name}_FILE")})
    folder = private_folder("faust")
    os.environ.setdefault("KONTOR_FAUST_DIR", str(folder))
    from streams.worker import run  # noqa: PLC0415

    run()


@one_sentence
def api() -> None:
    """Serve GraphQL over HTTP and WebSocket."""
    from api.app import create_app  # noqa: PLC0415
    from api.graphql.sockets import SocketLimits  # noqa: PLC0415
    from cli.draining import DrainingServer  # noqa: PLC0415

    settings = _start("api")
    _allow_open_files()
    limits = SocketLimits(
        allowed_origins=listed(settings.allowed_origins), per_address_max=settings.sockets_per_address_max
    )
    app = create_app(
        lambda: _opened(settings, "api"),
        environment=settings.environment,
        limits=limits,
        hosts=listed(settings.allowed_hosts),
    )
    host, port, drain_s = settings.http_host, settings.http_port, settings.drain_s
    proxies = listed(settings.trusted_proxies)
    DrainingServer(
        app, host=host, port=port, trusted_proxies=proxies, drain_s=drain_s, announce=_announce(settings)
    ).run(_sockets(settings))


def private_folder(name: str) -> Path:
    """A folder in the home that is this user's alone; raises Problem where there can be none."""
    folder = default_home().path / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"{folder} cannot be made ({error.strerror}): set KONTOR_HOME to another place.") from error
    return folder


def _sockets(settings: Settings) -> list[socket.socket] | None:
    """Both ports of the API, where there is one of operators; None where the server opens its only one. Raises
    Problem."""
    if settings.internal_port is None:
        return None
    places = ((settings.http_host, settings.http_port), (settings.internal_host, settings.internal_port))
    opened = []
    for host, port in places:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            opened.append(socket.create_server((host, port), family=family, backlog=BACKLOG))
        except OSError as error:
            raise Problem(f"The API cannot listen on {host}:{port} ({error.strerror}): name another port.") from error
    return opened


def _allow_open_files() -> None:
    """As many as the system lets us have, up to OPEN_FILES: each connection is one, and often 1,024 are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _opened(settings: Settings, name: str) -> AbstractAsyncContextManager[Any]:
    from adapters.wiring import open_kontor  # noqa: PLC0415

    return open_kontor(settings, name=name)


def _start(name: str) -> Settings:
    gc.set_threshold(*COLLECT_AFTER)
    settings = load_settings(name)
    log_to_stderr(name)
    structlog.get_logger().info("starting", pid=os.getpid())
    tell_accepted_risks(settings, name)
    return settings


def tell_accepted_risks(settings: Settings, process: str) -> None:
    """In the security log, once a start: which weaknesses its operator has accepted."""
    from adapters.security_log import tell  # noqa: PLC0415  # imported when asked for: start-up time
    from commands.security_events import SecurityEvent  # noqa: PLC0415

    if names := accepted(settings):
        tell(SecurityEvent.RISKS_ACCEPTED, who=f"system:{process}", what="start", subjects=names)


def _announce(settings: Settings) -> Callable[[], None]:
    def announce() -> None:
        if settings.ready_file:
            Path(settings.ready_file).write_text(str(os.getpid()))

    return announce


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables from which a process reads these settings."""
    values = settings.model_dump()
    return {
        f"KONTOR_{name.upper()}": value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in values.items()
        if value is not None
    }


def _until_signalled(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run until SIGTERM or SIGINT, then cancel and let it close what it opened."""

    async def run() -> None:
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, task.cancel)
        await asyncio.gather(task, return_exceptions=False)

    try:
        uvloop.run(run())
    except asyncio.CancelledError:
        structlog.get_logger().info("stopped")
