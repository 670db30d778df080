"""What happens to Kontor's own processes: killed, frozen, told to end, short of memory, with a wrong clock."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.faults.proxy import Link
from tests.faults.scene import Scene

TAKE_OVER_S: Final = 3.0
STARVED_S: Final = 6.0
REPLAYED_S_MAX: Final = 30.0
AT_ONCE: Final = 50
HOUR_S: Final = 3_600.0
_KEY: Final = re.compile(rb"^Idempotency-Key: (\S+)", re.IGNORECASE | re.MULTILINE)


async def nothing(scene: Scene) -> None:
    """The load alone: what is wrong here is wrong without any fault."""
    await scene.moment(1, 2)


def killed(process: str, times: int = 2) -> Callable[[Scene], Awaitable[None]]:
    """kill -9, and again when it is back."""
    return lambda scene: scene.kill(process, times)


async def api_dies_before_it_answers(scene: Scene) -> None:
    """The command is stored and its answer is on the way when the process is killed: none of it arrives."""
    lost: list[str] = []
    for number in range(1, scene.times(2) + 1):
        await scene.moment()
        await scene.serves()
        pid = await scene.pid("api")

        def shoot(link: Link, from_client: bool, chunk: bytes, number: int = number, pid: int = pid) -> bool:
            if from_client:
                if chunk.startswith(b"POST "):
                    link.notes["key"] = found[1].decode() if (found := _KEY.search(chunk)) else ""
                return True
            if len(lost) == number or not link.notes.get("key") or not chunk.startswith(b"HTTP/1.1 200"):
                return True
            lost.append(link.notes["key"])
            os.kill(pid, signal.SIGKILL)
            return False

        async def caught(number: int = number) -> bool:
            return len(lost) == number

        scene.system.proxies["api"].watch = shoot
        try:
            scene.require(await scene.until(caught), "no answer was caught")
        finally:
            scene.system.proxies["api"].watch = None
        await scene.replaced("api", pid)

    async def replayed() -> bool:
        return {sent.key for sent in scene.crowd.ledger.sent if sent.replayed} >= set(lost)

    scene.require(await scene.until(replayed, s_max=REPLAYED_S_MAX), f"not all of {lost} were replayed")


async def one_after_the_other_is_told_to_end(scene: Scene) -> None:
    for process in ("api", "relay", "worker"):
        await scene.kill(process, sent=signal.SIGTERM)
        await scene.moment()


async def relay_is_frozen_and_another_leads(scene: Scene) -> None:
    """The old leader wakes up and does not know that it is deposed."""
    pid = await scene.send("relay", signal.SIGSTOP)
    with scene.system.beside("relay"):
        await asyncio.sleep(TAKE_OVER_S)
        await scene.terminate_connections("kontor.relay-leader")  # the lock of the frozen one is free now
        await asyncio.sleep(TAKE_OVER_S)
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(TAKE_OVER_S)


async def worker_has_no_memory(scene: Scene) -> None:
    """The kernel gives it no more. It ends, and another takes its place; if it can do without, it is killed for it."""
    pid = await scene.pid("worker")
    used_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (used_bytes // 2, hard))

    async def ended() -> bool:
        return scene.system.pid("worker") != pid

    if not await scene.until(ended, s_max=STARVED_S):
        await scene.kill("worker")
    await scene.replaced("worker", pid)


async def one_key_many_times_at_once(scene: Scene) -> None:
    """Every one of them is answered, and the same."""
    for _ in range(scene.times(3)):
        await scene.moment()
        key, given = str(uuid4()), {"sku": scene.crowd.sku(0), "quantity": 1}
        answers = await asyncio.gather(
            *(scene.crowd.send(scene.http, "staff", "receive-stock", given, key) for _ in range(AT_ONCE))
        )
        told = {(sent.command_id, sent.aggregate_id, sent.version, sent.refusal) for sent in answers}
        scene.require(len(told) == 1, f"one key was answered in {len(told)} ways: {told}")
        first = sum(sent.acknowledged and not sent.replayed for sent in answers)
        scene.require(first <= 1, f"one key was executed {first} times")


def clock_is_wrong(process: str) -> Callable[[Scene], Awaitable[None]]:
    """One process believes it to be an hour later, then an hour earlier, then jumps back to the truth."""

    async def shifted(scene: Scene) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack("d", 0.0))
            file.flush()
            usual = scene.system.supervisor.specs[process]
            argv = (sys.executable, "-m", "tests.faults.clock", file.name, *usual.argv[3:])
            async with scene.system.otherwise(process, argv=argv):
                for offset_s in (HOUR_S, -HOUR_S, 0.0):
                    file.seek(0)
                    file.write(struct.pack("d", offset_s))
                    file.flush()
                    await scene.moment(1, 2)
        if process == "api":
            refused = any(answer.status == 401 for answer in scene.crowd.answers)
            scene.require(refused, "an access token of fifteen minutes was taken an hour later")

    return shifted
