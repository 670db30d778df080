"""The API's server: it says when it serves, and ends without cutting anybody off.

On SIGTERM or Ctrl-C `/readyz` answers 503 at once while everything is served as before, so that whoever spreads the
requests has `drain_s` seconds to send them elsewhere. Then nothing new is taken, what is under way is finished, for at
most FINISH_S, and only then the connections to the databases close. A second signal skips the waiting for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI

from api.graphql.sockets import SERVING
from api.http_protocol import uvicorn_options

log = structlog.get_logger()

FINISH_S: Final = 10


class DrainingServer(uvicorn.Server):
    """Serves `app` on host and port until it is signalled; `announce` is called once it serves."""

    def __init__(
        self,
        app: FastAPI,
        *,
        host: str,
        port: int,
        trusted_proxies: Sequence[str],
        drain_s: float,
        announce: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="uvloop",
                timeout_graceful_shutdown=FINISH_S,
                **uvicorn_options(trusted_proxies=trusted_proxies),
                **SERVING,
            )
        )
        self._app = app
        self._drain_s = drain_s
        self._announce = announce
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        """As uvicorn does it, and then announced."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does; see above."""
        if self._loop is None or self._drain_s == 0 or self._app.state.draining:
            self._app.state.draining = True
            super().handle_exit(sig, frame)
            return
        self._app.state.draining = True
        log.info("draining", seconds=self._drain_s)
        # A signal interrupts the loop anywhere: the timer is made in its turn.
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_s, super().handle_exit, sig, frame)
