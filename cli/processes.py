"""The long-running processes and the one-shot that prepares the servers for them, each as one command."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import structlog
import uvloop

from adapters.settings import Settings
from cli.installation import load_settings
from cli.log_output import log_to_stderr


def migrate() -> None:
    """Bring tables and topics to this version; safe to repeat. Run it before the other processes."""
    from adapters.kafka import ensure_topics  # noqa: PLC0415  # imported when asked for: start-up time
    from adapters.schema import migrate as migrate_schema  # noqa: PLC0415

    settings = load_settings()

    async def prepare() -> None:
        applied = await migrate_schema(settings.postgres_url)
        created = await ensure_topics(
            settings.kafka_url,
            prefix=settings.topic_prefix,
            replication_factor=settings.topic_replication_factor,
            min_insync_replicas=settings.topic_min_insync_replicas,
        )
        print(f"migrations applied: {', '.join(applied) or 'none'}; topics created: {', '.join(created) or 'none'}")

    uvloop.run(prepare())


def relay() -> None:
    """Publish the log to Kafka; one process leads, more wait for it to fail. Ends on SIGTERM or Ctrl-C."""
    from streams.relay import Relay  # noqa: PLC0415

    settings = _start("relay")

    async def lead() -> None:
        async with _opened(settings, "relay") as kontor:
            await Relay(kontor, on_leading=_announce(settings)).run()

    _until_signalled(lead)


def worker() -> None:
    """Fold the topics into the views and drive the checkout; more processes share the partitions."""
    settings = _start("worker")
    # Faust's app is a module: it reads the settings from the environment when it is imported.
    os.environ.update(environment_of(settings))
    from streams.worker import run  # noqa: PLC0415

    run()


def api() -> None:
    """Serve GraphQL over HTTP."""
    import uvicorn  # noqa: PLC0415

    from api.app import create_app  # noqa: PLC0415

    settings = _start("api")
    announce = _announce(settings)

    class Server(uvicorn.Server):
        """Tells that it serves once it does."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                announce()

    app = create_app(lambda: _opened(settings, "api"), environment=settings.environment)
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        loop="uvloop",
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    Server(config).run()


def _opened(settings: Settings, name: str) -> AbstractAsyncContextManager[Any]:
    from adapters.wiring import open_kontor  # noqa: PLC0415

    return open_kontor(settings, name=name)


def _start(name: str) -> Settings:
    settings = load_settings()
    log_to_stderr(name)
    structlog.get_logger().info("starting", pid=os.getpid())
    return settings


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
