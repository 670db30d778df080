"""The machine that is measured: what it is, how busy others keep it, how fast its disk says "stored".

Absolute figures move with all three, so every run waits a while for quiet and says what it got.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
import psycopg

from cli.bench.server import Server

BUSY_MAX: Final = 0.3
FLUSH_P90_MS_MAX: Final = 1.0
LOOK_S: Final = 0.5
PROBES: Final = 60
PROBE_BYTES: Final = b"x" * 4096


@dataclass(frozen=True, slots=True)
class Quiet:
    """The machine just before a run: the share of its CPUs that others used, and what one flush to disk took."""

    busy: float
    flush_p50_ms: float | None
    flush_p90_ms: float | None

    @property
    def enough(self) -> bool:
        return self.busy <= BUSY_MAX and (self.flush_p90_ms or 0) <= FLUSH_P90_MS_MAX


def look(folder: Path | None) -> Quiet:
    """Look for half a second. Without a folder on the database's disk, flushing is not tried."""
    busy = round(psutil.cpu_percent(interval=LOOK_S) / 100, 2)
    return Quiet(busy, *(flush_ms(folder) if folder else (None, None)))


def wait_for_quiet(folder: Path | None, seconds_max: float) -> Quiet:
    """Look until the machine is quiet, for at most that long; returns the last look."""
    give_up_at = time.monotonic() + seconds_max
    seen = look(folder)
    while not seen.enough and time.monotonic() < give_up_at:
        seen = look(folder)
    return seen


def flush_ms(folder: Path) -> tuple[float, float]:
    """p50 and p90 of writing 4 KB and flushing it, in ms."""
    flush = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
    path = folder / "flush.probe"
    took = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(PROBES):
            began = time.perf_counter()
            os.pwrite(descriptor, PROBE_BYTES, 0)
            flush(descriptor)
            took.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    return round(median(took) * 1000, 3), round(sorted(took)[int(PROBES * 0.9)] * 1000, 3)


def described(server: Server) -> dict[str, Any]:
    """What somebody who compares two runs must know."""
    shown = server.settings("server_version", "fsync", "synchronous_commit", "wal_sync_method", "shared_buffers")
    flush = flush_ms(server.folder) if server.folder else (None, None)
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "psycopg": f"{psycopg.__version__} ({psycopg.pq.__impl__})",
        "postgresql": shown.pop("server_version"),
        **shown,
        "flush_p50_ms": flush[0],
        "flush_p90_ms": flush[1],
    }
