"""Every fault once, but those that other tests have. `make faults N=30` has all of them again and again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import Stack
from tests.faults.faults import FAULTS
from tests.faults.trial import trial

pytestmark = pytest.mark.acceptance

# In `tests/acceptance/test_kills.py`, under the load of an import.
ELSEWHERE = frozenset(
    {"api-killed", "relay-killed", "redis-killed", "broker-killed", "postgres-immediate-stop", "topics-deleted"}
)


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - ELSEWHERE))
async def test_a_fault_loses_doubles_and_reorders_nothing(stack: Stack, tmp_path: Path, name: str) -> None:
    seed = random.randrange(10**6)
    outcome = await trial(stack, FAULTS[name], seed, tmp_path)
    assert outcome.violations == [], f"seed {seed}"
    assert outcome.acknowledged > 0, f"seed {seed}"
