"""What happens to Redis, and to a worker that writes to it."""

from __future__ import annotations

import os
import signal
import threading

import psutil

from tests.faults.proxy import Link
from tests.faults.scene import Scene

_SCRIPT = (b"EVALSHA", b"EVAL\r\n")


async def redis_is_emptied(scene: Scene) -> None:
    async with scene.redis() as redis:
        for _ in range(3):
            await scene.moment()
            await redis.flushall()


async def redis_has_no_memory(scene: Scene) -> None:
    async with scene.redis() as redis:
        await redis.config_set("maxmemory", "1mb")
        await scene.moment(2, 3)
        await redis.config_set("maxmemory", "0")


async def worker_dies_before_it_copies(scene: Scene) -> None:
    """The rows are committed and the copies are on their way: the process is killed before any of them arrives."""
    for _ in range(scene.times(2)):
        await scene.moment()
        await scene.serves()
        pid, shot = await scene.pid("worker"), threading.Event()

        def shoot(link: Link, from_client: bool, chunk: bytes, pid: int = pid, shot: threading.Event = shot) -> bool:
            if shot.is_set() or not from_client or not _is_copying(chunk):
                return True
            if not any(each.laddr.port == link.client_port for each in psutil.Process(pid).net_connections("tcp")):
                return True  # of the API, which refills what it has read
            shot.set()
            os.kill(pid, signal.SIGKILL)
            return False

        async def is_shot(shot: threading.Event = shot) -> bool:
            return shot.is_set()

        scene.system.proxies["redis"].watch = shoot
        try:
            scene.require(await scene.until(is_shot), "the worker has copied nothing")
        finally:
            scene.system.proxies["redis"].watch = None
        await scene.replaced("worker", pid)


def _is_copying(chunk: bytes) -> bool:
    """Is it the script that copies rows, and not the one that asks for the incarnation, which is one key?"""
    return any(command in chunk for command in _SCRIPT) and chunk.count(b"copy:") > 1
