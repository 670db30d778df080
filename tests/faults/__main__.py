"""`python -m tests.faults --trials 30`: every fault again and again on a stack of its own, and what came of it."""

# ruff: noqa: T201  # a program that prints a table

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

from tests.conftest import Stack
from tests.faults.checker import Outcome
from tests.faults.faults import FAULTS
from tests.faults.trial import trial


def main() -> int:
    """1 when anything was lost, doubled, reordered or otherwise wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30, help="of each fault")
    parser.add_argument("--only", nargs="*", choices=list(FAULTS), default=list(FAULTS), help="these faults")
    parser.add_argument("--seed", type=int, default=None, help="of the first trial; the others count up")
    given = parser.parse_args()
    first = random.randrange(10**6) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="kontor-faults-"))
    stack = Stack(folder / "home")
    stack.run("up", "--detach", timeout_s=400)
    try:
        outcomes = asyncio.run(_all(stack, given.only, range(first, first + given.trials), folder))
    finally:
        stack.run("down", timeout_s=120)
    _table(outcomes)
    return int(any(outcome.violations for each in outcomes.values() for outcome in each))


async def _all(stack: Stack, names: list[str], seeds: range, folder: Path) -> dict[str, list[Outcome]]:
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    for seed in seeds:
        for name in names:
            began = time.monotonic()
            try:
                outcome = await trial(stack, FAULTS[name], seed, folder)
            except Exception as error:  # a trial that cannot be finished has failed; the next may not
                outcome = Outcome(other=[f"the trial ended: {error!r}"])
            outcomes[name].append(outcome)
            took_s = time.monotonic() - began
            print(f"{name} seed {seed}: {outcome.acknowledged} acknowledged, {len(outcome.violations)} violations,"
                  f" recovered in {outcome.recovery_s:.1f} s, {took_s:.0f} s in all", flush=True)  # fmt: skip
            for violation in outcome.violations[:5]:
                print(f"    {violation}", flush=True)
    return outcomes


def _table(outcomes: dict[str, list[Outcome]]) -> None:
    print(f"{'':>3} {'fault':<24}{'trials':>7}{'violations':>11}{'bound':>7}{'lost':>6}{'doubled':>8}{'reordered':>10}"
          f"{'repeated':>9}{'acks':>8}{'recovery p50':>13}{'worst':>7}")  # fmt: skip
    for name, each in outcomes.items():
        failed = sum(bool(outcome.violations) for outcome in each)
        times = [outcome.recovery_s for outcome in each]
        bound = (
            f"{min(1, 3 / len(each)):.0%}" if not failed else "-"
        )  # 95 % sure that it is rarer, when it was never seen
        lost, doubled, reordered = (
            sum(len(getattr(outcome, kind)) for outcome in each) for kind in ("lost", "duplicated", "reordered")
        )
        print(f"{FAULTS[name].number:>3} {name:<24}{len(each):>7}{failed:>11}{bound:>7}{lost:>6}{doubled:>8}"
              f"{reordered:>10}{max(outcome.repeated_records for outcome in each):>9}"
              f"{sum(outcome.acknowledged for outcome in each):>8}"
              f"{statistics.median(times):>11.1f} s{max(times):>5.1f} s")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
