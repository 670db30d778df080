"""Alternating runs: A, B, C, A, B, C, each in a fresh process and an empty database of the same server.

What is trusted are ratios of runs that stand beside each other; every single run is kept.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.bench.contestants import Contestant
from cli.bench.machine import Quiet, wait_for_quiet
from cli.bench.server import Server, clean_environment
from cli.bench.timing import SEEDED_STREAMS
from cli.stack.problem import Problem
from cli.stack.process import TELLING_WORDS

RUN_S_MAX: Final = 180.0  # beside the seconds that are measured: start, seeding, warm-up
SAID_CHARS_MAX: Final = 300

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contestant: its answer, and how quiet the machine was just before."""

    name: str
    mode: str
    writers: int
    answer: dict[str, Any]
    quiet: Quiet


class Failed(Exception):
    """A contestant ended without an answer; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Contest:
    """How every run is made."""

    server: Server
    seconds: float
    rounds: int
    idle_wait_s: float
    say: Say

    def install(self, contestants: Iterable[Contestant]) -> list[Contestant]:
        """Install what needs it on this server; those that fail are left out with a sentence."""
        ready = []
        for each in contestants:
            try:
                if each.install:
                    execute(each.install, each.folder, clean_environment() | self.server.environment, RUN_S_MAX)
            except Failed as error:
                self.say(f"{each.name} is left out: it could not be installed ({error}); {each.install_hint}")
            else:
                ready.append(each)
        return ready

    def all_rounds(self, contestants: Sequence[Contestant], mode: str, writers: int) -> list[Run]:
        """Every contestant that knows the mode, in turn, `rounds` times. A peer that fails is left out of the rest.

        Raises Problem when one of ours fails."""
        taking_part = [each for each in contestants if mode in each.modes]
        runs = []
        for _ in range(self.rounds):
            for each in list(taking_part):
                quiet = wait_for_quiet(self.server.folder, self.idle_wait_s)
                try:
                    answer = self.one_run(each, each.modes[mode], writers)
                except Failed as error:
                    if not each.is_peer:
                        raise Problem(f"The contestant {each.name} failed: {error}") from error
                    self.say(f"{each.name} is left out of the rest: {error}")
                    taking_part.remove(each)
                    continue
                runs.append(Run(each.name, mode, writers, answer, quiet))
                self.say(_line(runs[-1]))
        return runs

    def once(self, contestants: Sequence[Contestant], mode: str) -> dict[str, dict[str, Any]]:
        """One run of each contestant that knows the mode, by one writer; its answers by name.

        Raises Problem when one fails."""
        single = Contest(self.server, self.seconds, 1, self.idle_wait_s, self.say)
        return {run.name: run.answer for run in single.all_rounds(contestants, mode, 1)}

    def one_run(self, contestant: Contestant, mode: str, writers: int) -> dict[str, Any]:
        """One process from start to end on an empty database; its answer. Raises Failed."""
        asked = {"CLIENTS": str(writers), "SECONDS": str(self.seconds), "MODE": mode, "SEED": str(SEEDED_STREAMS)}
        if contestant.is_peer:  # they know whole seconds only
            asked["SECONDS"] = str(max(1, round(self.seconds)))
        with self.server.database() as place:
            environment = clean_environment() | contestant.environment | place | asked
            return answer_of(execute(contestant.argv, contestant.folder, environment, self.seconds + RUN_S_MAX))


def _line(run: Run) -> str:
    shown = {"commits_per_s": "commits/s", "p50_ms": "ms p50", "p99_ms": "ms p99", "errors": "errors"}
    told = [f"{run.answer[key]} {unit}" for key, unit in shown.items() if run.answer.get(key) not in (None, 0)]
    flush = "" if run.quiet.flush_p50_ms is None else f", flush {run.quiet.flush_p50_ms}/{run.quiet.flush_p90_ms} ms"
    return (
        f"{run.mode:<7}{run.writers:>4} {run.name:<16}{', '.join(told)}  (others used {run.quiet.busy:.0%} CPU{flush})"
    )


def execute(argv: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float) -> str:
    """Run a program to its end and return its stdout; nothing it started outlives this call. Raises Failed."""
    process = subprocess.Popen(  # noqa: S603  # programs of this package's table
        argv,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"it did not end within {timeout_s:.0f} s") from error
    finally:
        # It leads its own session, so its group holds its offspring and nothing else.
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        lines = [line.strip() for line in (complaint or said).splitlines() if line.strip()]
        telling = [line for line in lines if any(word in line for word in TELLING_WORDS)]
        raise Failed(
            f"exit code {process.returncode}: {(telling or lines or ['it said nothing'])[-1][:SAID_CHARS_MAX]}"
        )
    return said


def answer_of(said: str, counted: str = "p50_ms") -> dict[str, Any]:
    """The last JSON object that was printed. Raises Failed when there is none, or its figure `counted` is missing."""
    for line in reversed(said.splitlines()):
        if line.startswith("{"):
            with suppress(ValueError):
                answer: dict[str, Any] = json.loads(line)
                if answer.get(counted) is not None:
                    return answer
                raise Failed(f"it stored nothing: {line[:SAID_CHARS_MAX]}")
    raise Failed(f"it printed no answer: {said.strip()[-SAID_CHARS_MAX:] or 'nothing at all'}")
