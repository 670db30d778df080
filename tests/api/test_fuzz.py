"""Whatever can be made of the two schemas that are published, one answer for all: done, or refused with a sentence.

`make fuzz` has EXAMPLES for each operation; here is what fits into a few seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from domain.users import Role
from tests.api.served import Served, served
from tests.conftest import ROOT, Stack, installation_on

pytestmark = pytest.mark.servers

EXAMPLES = int(os.environ.get("EXAMPLES", "1"))
S_MAX = int(os.environ.get("FUZZ_S", "10"))


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Served]:
    async with installation_on(stack) as settings, served(settings) as running:
        yield running


@pytest.mark.parametrize(("path", "operations"), [("/graphql", 40), ("/openapi.json", 30)])
async def test_no_request_that_fits_a_schema_is_an_internal_error(
    api: Served, tmp_path: Path, path: str, operations: int
) -> None:
    token = api.token(uuid4(), *Role)
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", api.url + path, "--checks", "no_internal_error",
        "--phases", "fuzzing", "--max-examples", str(EXAMPLES), "--max-time", str(S_MAX),
        "--header", f"Authorization: Bearer {token}", "--request-timeout", "30", "--suppress-health-check", "all",
        "--generation-database", "none", "--warnings", "off", "--no-color",
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.api.fuzzing"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(run.communicate(), S_MAX + 60)
    finally:
        if run.returncode is None:
            run.kill()
    told = said.decode()
    # On a machine that is busy the time may be over before anything was tried.
    assert run.returncode == 0 or "Empty test suite" in told, told[-4_000:]
    selected = [int(line.split("/")[-1]) for line in told.splitlines() if line.startswith("  Selected:")]
    assert selected[0] >= operations, told[-2_000:]
