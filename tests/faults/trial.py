"""One trial: load, a fault in the middle, recovery, and what the checker says."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

import aiohttp

from adapters.settings import Settings
from adapters.wiring import open_kontor
from cli.logins import DEMO_LOGINS
from tests.faults.checker import Outcome, check, recovered
from tests.faults.crowd import CALM_PACE_S, PACE_S, Crowd, Ledger
from tests.faults.faults import Fault
from tests.faults.scene import Scene
from tests.faults.system import System

BEFORE_S: Final = 0.5
AFTER_S: Final = 0.5
LOGINS: Final = {who: {"email": login.email, "password": login.password} for who, login in DEMO_LOGINS.items()}


async def trial(system: System, fault: Fault, seed: int, folder: Path, *, long: bool = False) -> Outcome:
    """Run it. The dice decide when and how often; what the machine does with that is its own."""
    if fault.elsewhere is not None:
        async with fault.elsewhere(system, seed) as (url, settings):
            return await _trial(system, fault, seed, folder, url, settings, long=long)
    return await _trial(system, fault, seed, folder, system.http_url, system.settings, long=long)


async def _trial(
    system: System, fault: Fault, seed: int, folder: Path, url: str, settings: Settings, *, long: bool
) -> Outcome:
    dice = random.Random(seed)
    ledger = Ledger.at(folder / f"{fault.name}-{seed}.jsonl")
    pace_s = PACE_S if long or fault.pressing else CALM_PACE_S
    crowd = Crowd(url, LOGINS, ledger, dice, clients=fault.clients, skus=fault.skus, pace_s=pace_s)
    async with aiohttp.ClientSession() as http, open_kontor(settings, name="faults") as kontor:
        scene = Scene(system, settings, kontor, crowd, http, dice, long=long)
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
        await scene.serves()
        outcome = await check(scene)
    outcome.recovery_s = recovery_s
    return outcome
