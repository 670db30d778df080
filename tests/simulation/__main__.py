"""`python -m tests.simulation --seeds 20000`: many runs, how fast, and which faults struck how often.

With `--seed 123` one run, told step by step."""

# ruff: noqa: T201  # a program that prints a table

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import structlog

from tests.simulation.scenario import Violated, simulate

SEEDS_AT_ONCE = 25
FAILURES_TOLD_MAX = 20


def main() -> int:
    """1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many runs")
    parser.add_argument("--first", type=int, default=None, help="the first seed; the others count up")
    parser.add_argument("--seed", type=int, default=None, help="only this one, told step by step")
    given = parser.parse_args()
    if given.seed is not None:
        return _told(given.seed)
    first = random.randrange(10**9) if given.first is None else given.first
    print(f"seeds {first} to {first + given.seeds - 1}")
    begun, faults, failures = time.monotonic(), Counter[str](), list[str]()
    for struck, broken in simulated(range(first, first + given.seeds)):
        faults += struck
        failures += broken
    seconds = time.monotonic() - begun
    for fault, times in faults.most_common():
        print(f"{times:>9} {fault}")
    for failure in failures[:FAILURES_TOLD_MAX]:
        print(failure)
    print(f"{given.seeds} seeds in {seconds:.0f} s, {given.seeds / seconds:.0f} a second; {len(failures)} failed")
    return int(bool(failures))


def simulated(seeds: Sequence[int]) -> Iterator[tuple[Counter[str], list[str]]]:
    """Run the seeds on all processors: the faults that struck and the failures, in bunches."""
    bunches = [seeds[start : start + SEEDS_AT_ONCE] for start in range(0, len(seeds), SEEDS_AT_ONCE)]
    with ProcessPoolExecutor(os.cpu_count(), initializer=silence) as processes:
        yield from processes.map(bunch, bunches)


def bunch(seeds: Sequence[int]) -> tuple[Counter[str], list[str]]:
    """Run the seeds one after another."""
    faults, failures = Counter[str](), []
    for seed in seeds:
        try:
            faults += simulate(seed)
        except Violated as violated:
            failures.append(str(violated))
    gc.collect()
    return faults, failures


def silence() -> None:
    """No log of what the programs do, and garbage in bunches: both would take much of the time."""
    gc.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _told(seed: int) -> int:
    structlog.configure(processors=[_told_line])
    try:
        simulate(seed, trace=print)
    except Violated as violated:
        print(violated)
        return 1
    print(f"seed {seed}: every promise was kept")
    return 0


def _told_line(_logger: object, _name: str, said: structlog.typing.EventDict) -> str:
    named = " ".join(f"{name}={value}" for name, value in said.items() if name != "event")
    return f"          {said['event']} {named}"


if __name__ == "__main__":
    raise SystemExit(main())
