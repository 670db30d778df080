"""One trial: load, a fault in the middle, recovery, and what the checker says."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

import aiohttp

from adapters.wiring import open_kontor
from tests.acceptance.test_kills import wait_ready
from tests.conftest import Stack
from tests.faults.checker import Outcome, check, recovered
from tests.faults.crowd import Crowd, Ledger
from tests.faults.faults import Fault
from tests.faults.scene import Scene

BEFORE_S: Final = 0.5
AFTER_S: Final = 1.0


async def trial(stack: Stack, fault: Fault, seed: int, folder: Path) -> Outcome:
    """Run it. The dice decide when and how often; what the machine does with that is its own."""
    dice = random.Random(seed)
    status, settings = stack.status, stack.settings
    ledger = Ledger.at(folder / f"{fault.name}-{seed}.jsonl")
    crowd = Crowd(status["http_url"], status["logins"], ledger, dice, clients=fault.clients, skus=fault.skus)
    async with aiohttp.ClientSession() as http, open_kontor(settings, name="faults") as kontor:
        scene = Scene(stack, settings, kontor, dice)
        await crowd.prepare(http)
        ended = asyncio.Event()
        working = asyncio.create_task(crowd.work(http, ended))
        try:
            await scene.moment(0, BEFORE_S)
            await fault.inject(scene)
            await asyncio.sleep(AFTER_S)
        finally:
            ended.set()
            await working
        recovery_s = await recovered(kontor)
        if fault.after is not None:
            await fault.after(scene)
        await asyncio.to_thread(wait_ready, stack)
        outcome = await check(kontor, crowd)
    outcome.recovery_s = recovery_s
    return outcome
