"""Where Python keeps the compiled form of what Kontor imports.

Where the environment forbids compiled files beside the sources (containers and CI often do), each of the six processes
of a start would compile some thousand files anew: measured 2 to 4 s each. Then they share one in the user's cache.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder of everything Kontor may fetch or compute again, for all installations of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kontor"


def share_bytecode() -> None:
    """Keep compiled files in the cache folder if they would be thrown away; one that cannot be written is ignored."""
    if sys.dont_write_bytecode and sys.pycache_prefix is None:
        sys.pycache_prefix = str(cache_folder() / "bytecode")
        sys.dont_write_bytecode = False
