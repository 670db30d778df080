"""Every fault once, but those that other tests show. `make faults N=30` has all of them again and again."""

from __future__ import annotations

import random
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One that may be broken: nobody else's tests run on it."""
    with running_system(tmp_path_factory.mktemp("faults") / "home") as running:
        yield running


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - ELSEWHERE - LEFT_OUT))
async def test_a_fault_loses_doubles_and_reorders_nothing(system: System, tmp_path: Path, name: str) -> None:
    seed = random.randrange(10**6)
    outcome = await trial(system, FAULTS[name], seed, tmp_path)
    assert outcome.violations == [], f"seed {seed}"
    assert outcome.acknowledged > 0, f"seed {seed}"
