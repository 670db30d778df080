"""Every fault once, but those that other tests show. `make faults N=30` has all of them again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.system import System, running_system
from tests.faults.trial import trial

pytestmark = pytest.mark.acceptance

# In `tests/acceptance/test_survival.py`, under the load of an import.
ELSEWHERE = frozenset(
    {"api-killed", "relay-killed", "redis-killed", "broker-killed", "postgres-immediate-stop", "topics-deleted"}
)
# The load alone is part of every other trial; the API is who decides by the time of day; a worker is also killed by
# `worker-killed-copying`; spoilt snapshots are in `tests/adapters/test_snapshots.py`.
LEFT_OUT = frozenset({"none", "clock-relay", "clock-worker", "worker-killed", "snapshots-spoilt"})


# Recovery may take 240 s, and a command is sent for 90 s; a trial that takes longer stands still.
TRIAL_S_MAX = 480.0


class Systems:
    """One that may be broken: no other tests run on it. After a trial that failed the next one has another, so that
    what the first has left fails no other trial."""

    def __init__(self, folders: Callable[[], Path]) -> None:
        self._folders = folders
        self._running = ExitStack()
        self._system: System | None = None

    def present(self) -> System:
        if self._system is None:
            self._system = self._running.enter_context(running_system(self._folders() / "home"))
        return self._system

    def discard(self) -> None:
        self._system = None
        self._running.close()


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    made = Systems(lambda: tmp_path_factory.mktemp("faults"))
    yield made
    made.discard()


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - ELSEWHERE - LEFT_OUT))
async def test_a_fault_loses_doubles_and_reorders_nothing(systems: Systems, tmp_path: Path, name: str) -> None:
    seed = random.randrange(10**6)
    try:
        async with asyncio.timeout(TRIAL_S_MAX):
            outcome = await trial(systems.present(), FAULTS[name], seed, tmp_path)
        assert outcome.violations == [], f"seed {seed}"
        assert outcome.acknowledged > 0, f"seed {seed}"
    except BaseException:
        systems.discard()
        raise
