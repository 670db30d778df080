"""Figures that are looked up in the database when somebody scrapes: at most so often, and none while it is away."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

import structlog
from prometheus_client import Gauge

from adapters.away import AWAY

log = structlog.get_logger()

LOOK_S: Final = 1.0  # more frequent scrapes get the same figures
ANSWER_S_MAX: Final = 3.0


class Gauges(ABC):
    """Brought up to date by `refresh`. `name` is what the log calls them, `gauges` what `_look` sets."""

    name: ClassVar[str]
    gauges: ClassVar[Sequence[Gauge]]

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def refresh(self) -> None:
        """Look anew, unless that was LOOK_S ago or less; while the database is away there are no figures."""
        async with self._looking:
            if time.monotonic() - self._looked_at < LOOK_S:
                return
            try:
                async with asyncio.timeout(ANSWER_S_MAX):
                    await self._look()
            except (*AWAY, TimeoutError) as error:
                log.warning(f"{self.name}_not_counted", error=repr(error))
                self._clear()
            self._looked_at = time.monotonic()

    def _clear(self) -> None:
        for gauge in self.gauges:
            gauge.clear()

    @abstractmethod
    async def _look(self) -> None:
        """Ask the database, then clear the gauges and set them. Raises one of AWAY."""
