"""`python -m tests.faults --trials 30`: every fault again and again on a system of its own, and what came of it."""

# ruff: noqa: T201  # a program that prints a table

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import structlog

from tests.faults.checker import Outcome
from tests.faults.faults import FAULTS
from tests.faults.system import System, running_system
from tests.faults.trial import trial

LONG_FROM_TRIALS: Final = 10
SHOWN_MAX: Final = 5


def main() -> int:
    """1 when anything was lost, doubled, reordered or otherwise wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30, help="of each fault; from 10 on faults last longer")
    parser.add_argument("--only", default="", help="these faults, with commas between them")
    parser.add_argument("--seed", type=int, default=None, help="of the first trial; the others count up")
    parser.add_argument("--folder", type=Path, default=None, help="for ledgers, logs and outcomes; what an interrupted"
                        " run left there is gone on with, and its seeds")  # fmt: skip
    parser.add_argument("--long", action="store_true", help="faults last as long as in the matrix, in few trials too")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name] or list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        parser.error(f"there is no fault {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    # What the processes of the system say is in their logs; these are only the checker's own connections.
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # As Ctrl-C, which ends the trial under way without an outcome; the servers are stopped then, too. In the background
    # of a script that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kontor-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    kept = Kept(folder / "outcomes.jsonl", names)
    first = min((seed for each in kept.outcomes.values() for seed in each), default=random.randrange(10**6))
    try:
        for seed in range(first if given.seed is None else given.seed, 10**9)[: given.trials]:
            if all(seed in each for each in kept.outcomes.values()):
                continue
            # A new one each round: the checker reads the whole log after each trial.
            with running_system(Path(tempfile.mkdtemp(prefix=f"{seed}-", dir=folder))) as system:
                asyncio.run(_round(system, kept, seed, folder, long=given.long or given.trials >= LONG_FROM_TRIALS))
    except KeyboardInterrupt:
        kept.closed = True
        print("interrupted; so far:", file=sys.stderr)
    _table({name: each for name, each in kept.outcomes.items() if each})
    print(f"ledgers, logs and outcomes: {folder}")
    return int(any(outcome.violations for each in kept.outcomes.values() for outcome in each.values()))


class Kept:
    """What trials have shown, by fault and seed, and a line of JSON each: hours of them survive an interruption."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.outcomes: dict[str, dict[int, Outcome]] = {name: {} for name in names}
        self._path = path
        self.closed = False  # what an interrupted trial says while it is taken down is no outcome
        for line in path.read_text().splitlines() if path.exists() else ():
            said = json.loads(line)
            if said["fault"] in self.outcomes:
                self.outcomes[said["fault"]][said["seed"]] = Outcome(**said["outcome"])

    def add(self, name: str, seed: int, outcome: Outcome) -> None:
        self.outcomes[name][seed] = outcome
        with self._path.open("a") as file:
            print(json.dumps({"fault": name, "seed": seed, "outcome": asdict(outcome)}), file=file)


async def _round(system: System, kept: Kept, seed: int, folder: Path, *, long: bool) -> None:
    for name in (name for name, each in kept.outcomes.items() if seed not in each):
        began = time.monotonic()
        try:
            outcome = await trial(system, FAULTS[name], seed, folder, long=long)
        except Exception as error:  # a trial that cannot be finished has failed; the next may not
            if kept.closed:
                return
            outcome = Outcome(other=[f"the trial ended: {error!r}"])
        kept.add(name, seed, outcome)
        print(f"{name} seed {seed}: {outcome.acknowledged} acknowledged, {len(outcome.violations)} violations,"
              f" recovered in {outcome.recovery_s:.1f} s, slowest answer {outcome.slowest_s:.1f} s,"
              f" {time.monotonic() - began:.0f} s in all", flush=True)  # fmt: skip
        for violation in outcome.violations[:SHOWN_MAX]:
            print(f"    {violation}", flush=True)


def _table(outcomes: dict[str, dict[int, Outcome]]) -> None:
    print(f"{'':>3} {'fault':<24}{'trials':>7}{'violated':>9}{'bound':>7}{'lost':>6}{'doubled':>8}{'reordered':>10}"
          f"{'repeated':>9}{'acks':>8}{'recovery p50':>13}{'p95':>8}  seeds of violations")  # fmt: skip
    for name, each in outcomes.items():
        failed = [seed for seed, outcome in each.items() if outcome.violations]
        times = sorted(outcome.recovery_s for outcome in each.values())
        p50_s, p95_s = (times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.95))
        # 95 % sure that it is rarer than this, when it was never seen.
        bound = f"{min(1, 3 / len(each)):.0%}" if not failed else "-"
        lost, doubled, reordered = (
            sum(len(getattr(outcome, kind)) for outcome in each.values())
            for kind in ("lost", "duplicated", "reordered")
        )
        print(f"{FAULTS[name].number:>3} {name:<24}{len(each):>7}{len(failed):>9}{bound:>7}{lost:>6}{doubled:>8}"
              f"{reordered:>10}{max(outcome.repeated_records for outcome in each.values()):>9}"
              f"{sum(outcome.acknowledged for outcome in each.values()):>8}"
              f"{p50_s:>11.1f} s{p95_s:>6.1f} s  {' '.join(map(str, failed))}".rstrip())  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
