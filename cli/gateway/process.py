"""`kontor gateway` as a process: open the books, serve, send webhooks, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import uvloop
from aiohttp import web
from pydantic import ValidationError

from cli.gateway.clerk import Clerk
from cli.gateway.deliveries import Courier
from cli.gateway.serving import Gateway, application
from cli.gateway.settings import GatewaySettings
from cli.log_output import log_to_stderr

STOP_S_MAX: Final = 2.0


def run() -> None:
    """Serve until SIGTERM or Ctrl-C. Exit code 1, with one sentence, when a setting is missing or the port is taken."""
    try:
        settings = GatewaySettings()  # type: ignore[call-arg]  # the values come from the environment
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if not first["loc"]:  # of several settings together
            sys.exit(first["msg"].removeprefix("Value error, "))
        sys.exit(f"KONTOR_{str(first['loc'][0]).upper()} cannot be used ({first['msg']}): set it.")
    log_to_stderr("gateway")
    try:
        uvloop.run(_serve(settings))
    except OSError as error:
        sys.exit(f"The gateway cannot listen on {settings.gateway_host}:{settings.gateway_port} ({error.strerror}).")
    except sqlite3.OperationalError as error:
        sys.exit(f"{settings.gateway_file} cannot be used ({error}): does another gateway run on it?")


async def _serve(settings: GatewaySettings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    clerk = Clerk(Path(settings.gateway_file))
    await clerk.open()
    gateway = Gateway(clerk, settings.stripe_key.get_secret_value())
    if settings.gateway_webhook_url:
        secret = settings.stripe_webhook_secret.get_secret_value()
        gateway.courier = Courier(clerk, url=settings.gateway_webhook_url, secret=secret)
    runner = web.AppRunner(application(gateway), access_log=None, shutdown_timeout=STOP_S_MAX)
    await runner.setup()
    courier = asyncio.create_task(gateway.courier.run()) if gateway.courier else None
    try:
        await web.TCPSite(runner, settings.gateway_host, settings.gateway_port).start()
        structlog.get_logger().info("serving", port=settings.gateway_port, pid=os.getpid())
        if settings.ready_file:
            await asyncio.to_thread(Path(settings.ready_file).write_text, str(os.getpid()))
        await _until(stopping, courier)
    finally:
        await runner.cleanup()
        if courier is not None:
            courier.cancel()
            with suppress(asyncio.CancelledError):
                await courier
        await clerk.close()


async def _until(stopping: asyncio.Event, courier: asyncio.Task[None] | None) -> None:
    """Until it is asked to stop; a courier that fails ends the process, so that it is started again."""
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({asked, *([courier] if courier else [])}, return_when=asyncio.FIRST_COMPLETED)
    if courier is not None and courier.done():
        courier.result()
    asked.cancel()
