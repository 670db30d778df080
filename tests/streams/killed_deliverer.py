"""A worker's part in webhook deliveries, that dies by kill -9 when it is about to note what an endpoint has taken.

Its settings come from the environment."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from adapters.deliveries_ledger import DeliveriesLedger
from adapters.settings import Settings
from adapters.wiring import open_kontor
from streams import deliveries
from streams.deliveries import Deliveries

claim = DeliveriesLedger.claim


async def claim_or_die(self: DeliveriesLedger, kind: str, *, done: Any = (), **more: Any) -> Any:
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    return await claim(self, kind, **more)


async def main() -> None:
    deliveries.LOOK_S = 0.05  # type: ignore[misc]  # as tests look
    DeliveriesLedger.claim = claim_or_die  # type: ignore[method-assign]
    async with open_kontor(Settings.from_environment(), name="killed") as kontor:
        await Deliveries(kontor).run()


asyncio.run(main())
