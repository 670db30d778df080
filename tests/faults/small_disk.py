"""A disk of a few megabytes, so that one can be full."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

BALLAST_BYTES: Final = 64 * 1024


@contextmanager
def small_disk(place: Path, size_bytes: int, *, like: Path) -> Iterator[Path]:
    """A file system in memory, owned like that folder; raises subprocess.CalledProcessError where nobody may mount.

    Who is not root mounts it in a namespace of his own, and everybody of his reaches it through a process there."""
    place.mkdir(exist_ok=True)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place))
    if os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        try:
            disk = place / "disk"
            disk.mkdir()
            owner = (like / "data").stat()
            os.chown(disk, owner.st_uid, owner.st_gid)
            yield disk
        finally:
            # Lazily: a server process that still holds a deleted file of it open must not keep it mounted.
            subprocess.run(("umount", "--lazy", str(place)), check=True)
        return
    inside = f"{' '.join(mount)} && mkdir {place}/disk && echo mounted && exec cat"
    with subprocess.Popen(
        ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            if holder.stdout.readline() != b"mounted\n":
                raise subprocess.CalledProcessError(1, mount)
            yield Path(f"/proc/{holder.pid}/root") / place.relative_to("/") / "disk"
        finally:
            holder.stdin.close()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free while the block runs."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (BALLAST_BYTES, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        yield
    finally:
        ballast.unlink()
