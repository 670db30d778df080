"""The three servers together: PostgreSQL, Kafka and Valkey, side by side, each own one or one that was given.

`start_servers` runs them for a test run from ordinary code, sync or async:

    with start_servers(tmp_path) as servers:
        connect(servers.postgres_url, servers.kafka_url, servers.redis_url)
        os.kill(servers.pids()["kafka"], signal.SIGKILL)    # the supervisor starts it again on the same port

Guarantees: leaving the block stops everything that was started; servers named by KONTOR_POSTGRES_URL, KONTOR_KAFKA_URL
or KONTOR_REDIS_URL are used as they are and never stopped.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.stack import given, jars, kafka, postgres, valkey
from cli.stack.home import PROJECT_ROOT, Home, Secrets, launcher_lock, load_or_make_secrets
from cli.stack.java import find_java
from cli.stack.orphans import STOP_ORDER, stop_orphans
from cli.stack.ports import Ports, choose_ports
from cli.stack.problem import Problem
from cli.stack.process import Spec
from cli.stack.progress import Progress, Silent, timed
from cli.stack.state import State, forget_state, living, own_record, write_state
from cli.stack.supervisor import Supervisor

FETCH_TIMEOUT_S = 600.0
START_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class ServerUrls:
    """Where the three servers are."""

    postgres: str
    kafka: str
    redis: str


def urls_of(secrets: Secrets, ports: Ports) -> ServerUrls:
    """Where the servers are or will be: the given ones, else our own."""
    return ServerUrls(
        postgres=given.postgres_url() or postgres.url(ports.postgres, secrets.postgres_password),
        kafka=given.kafka_url() or f"127.0.0.1:{ports.kafka}",
        redis=given.redis_url() or valkey.url(ports.redis, secrets.redis_password),
    )


async def bring_up(home: Home, secrets: Secrets, ports: Ports, supervisor: Supervisor, progress: Progress) -> None:
    """Start the servers side by side and wait until all serve; raises the first Problem and cancels the rest."""
    await together(
        _bring_up_postgres(home, secrets, ports, supervisor, progress),
        _bring_up_valkey(home, secrets, ports, supervisor, progress),
        _bring_up_kafka(home, ports, supervisor, progress),
    )


async def _bring_up_postgres(
    home: Home, secrets: Secrets, ports: Ports, supervisor: Supervisor, progress: Progress
) -> None:
    if (url := given.postgres_url()) is not None:
        with timed(progress, "PostgreSQL (given)"):
            await given.check_postgres(url)
        return
    with timed(progress, "PostgreSQL"):
        who = await asyncio.to_thread(postgres.identity, home)
        making = postgres.init_spec(home, who, secrets.postgres_password)
        if making is not None:
            await supervisor.run_once(making)
            postgres.finish_init(home)
        await supervisor.start(postgres.spec(home, who, port=ports.postgres, password=secrets.postgres_password))


async def _bring_up_valkey(
    home: Home, secrets: Secrets, ports: Ports, supervisor: Supervisor, progress: Progress
) -> None:
    if (url := given.redis_url()) is not None:
        with timed(progress, "Redis (given)"):
            await given.check_redis(url)
        return
    with timed(progress, "Valkey"):
        spec = valkey.spec(home, port=ports.redis, password=secrets.redis_password)
        try:
            await supervisor.start(spec)
        except Problem as problem:
            # Everything in it is a copy that the views refill, so starting empty is safe.
            aside = valkey.set_aside(home)
            progress.note(f"{problem}: its data is set aside in {aside}, starting empty")
            await supervisor.start(spec)


async def _bring_up_kafka(home: Home, ports: Ports, supervisor: Supervisor, progress: Progress) -> None:
    if (url := given.kafka_url()) is not None:
        with timed(progress, "Kafka (given)"):
            await given.check_kafka(url)
        return
    java = await asyncio.to_thread(find_java)
    if await asyncio.to_thread(jars.missing_jars):
        with timed(progress, "Kafka download (once)"):
            await _fetch_jars(home, supervisor)
    with timed(progress, "Kafka"):
        formatting = kafka.format_spec(home, java, port=ports.kafka, controller_port=ports.kafka_controller)
        if formatting is not None:
            await supervisor.run_once(formatting)
            kafka.finish_format(home)
        await supervisor.start(kafka.spec(home, java, port=ports.kafka, controller_port=ports.kafka_controller))


async def _fetch_jars(home: Home, supervisor: Supervisor) -> None:
    log = home.log("kafka-download")
    log.unlink(missing_ok=True)
    spec = Spec(
        name="kafka-download",
        argv=(sys.executable, "-m", "cli.stack.jars"),
        log=log,
        marker="cli.stack.jars",
        env=dict(os.environ),
        cwd=PROJECT_ROOT,
        ready_timeout_s=FETCH_TIMEOUT_S,
    )
    try:
        await supervisor.run_once(spec)
    except Problem as problem:
        said = log.read_text(errors="replace").strip().splitlines()
        raise Problem(said[-1] if said else str(problem)) from problem


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all at once; the first failure cancels the others and is raised as itself."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Servers:
    """Running servers of a test run."""

    home: Home
    urls: ServerUrls
    supervisor: Supervisor

    @property
    def postgres_url(self) -> str:
        return self.urls.postgres

    @property
    def kafka_url(self) -> str:
        return self.urls.kafka

    @property
    def redis_url(self) -> str:
        return self.urls.redis

    def pids(self) -> dict[str, int]:
        """The pids of the servers that serve now; one that died comes back here with another pid."""
        records = dict(self.supervisor.records)
        return {name: record.pid for name, record in records.items() if record.serving and living(record)}


@contextmanager
def start_servers(
    folder: Path, *, progress: Progress | None = None, preferred_ports: bool = False
) -> Iterator[Servers]:
    """Run the three servers in `folder` while the block runs; raises Problem when they cannot be had.

    The folder's data, ports and passwords are used again by a later call with the same folder. A loop of its own in a
    thread looks after the servers, so the caller may block or run its own event loop.
    """
    home = Home(Path(folder).resolve())
    home.prepare()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="servers", daemon=True)
    thread.start()
    try:
        with launcher_lock(home) as mine:
            if not mine:
                raise Problem(
                    f"Servers already run in {home.path}: stop them with `kontor down`, or use another directory."
                )
            yield from _serve(home, loop, progress or Silent(), preferred_ports)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _serve(home: Home, loop: asyncio.AbstractEventLoop, progress: Progress, preferred_ports: bool) -> Iterator[Servers]:
    def wait_for(work: Coroutine[Any, Any, Any], timeout_s: float) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)

    wait_for(stop_orphans(home, progress.note), STOP_TIMEOUT_S)
    secrets = load_or_make_secrets(home)
    ports = choose_ports(home, preferred=preferred_ports, needed=given.own_listeners())
    supervisor = Supervisor(say=progress.note)
    supervisor.on_change(_state_writer(home, supervisor))
    try:
        wait_for(bring_up(home, secrets, ports, supervisor, progress), START_TIMEOUT_S)
        yield Servers(home, urls_of(secrets, ports), supervisor)
    finally:
        wait_for(supervisor.stop_all(STOP_ORDER), STOP_TIMEOUT_S)
        forget_state(home)


def _state_writer(home: Home, supervisor: Supervisor) -> Callable[[], None]:
    me = own_record()
    return lambda: write_state(home, State(launcher=me, processes=dict(supervisor.records)))
