"""The program as an operator runs it, on a test's own servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from adapters.settings import Settings
from cli.processes import environment_of
from tests.conftest import ROOT


def run_kontor(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`kontor ARGUMENTS` with these settings."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=os.environ | environment_of(settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def kontor_beside(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same, while this process does the worker's work."""
    return await asyncio.to_thread(run_kontor, settings, *arguments)
