"""Processes are started, watched, started again and stopped; small Python programs stand for the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from cli.stack.problem import Problem
from cli.stack.process import LOG_BYTES_MAX, Spec, bound_log, gist_of
from cli.stack.supervisor import BACKOFF_MAX_S, Backoff, Supervisor

SLEEP = "import time; time.sleep(60)"
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text("ready")
time.sleep(60)
"""


@pytest.fixture
async def said() -> list[str]:
    return []


@pytest.fixture
async def supervisor(said: list[str]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(say=said.append)
    yield supervisor
    await supervisor.stop_all([])


def program(folder: Path, code: str, *arguments: str, name: str = "program", **more: object) -> Spec:
    argv = (sys.executable, "-c", code, *arguments)
    return Spec(name=name, argv=argv, log=folder / f"{name}.log", marker=code, **more)  # type: ignore[arg-type]


async def eventually(true: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it has not happened within a minute")


async def test_a_killed_process_runs_again_under_another_pid(
    tmp_path: Path, supervisor: Supervisor, said: list[str]
) -> None:
    await supervisor.start(program(tmp_path, SLEEP))
    first = supervisor.records["program"].pid
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: "program" in supervisor.records and supervisor.records["program"].pid != first)
    await eventually(lambda: supervisor.records["program"].serving)
    assert said[0] == f"program (pid {first}) has ended by signal SIGKILL; starting it again in 0.5 s"
    assert said[1].startswith("program serves again")


async def test_a_process_that_ends_instead_of_serving_is_named_with_its_last_words(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    async def never(_pid: int) -> bool:
        return False

    with pytest.raises(
        Problem, match="exit code 3 instead of serving; its last words: ValueError: no table"
    ) as problem:
        await supervisor.start(program(tmp_path, "print('ValueError: no table'); print('bye'); exit(3)", ready=never))
    assert str(tmp_path / "program.log") in str(problem.value)
    assert supervisor.records == {}


async def test_a_process_that_never_serves_is_stopped(tmp_path: Path, supervisor: Supervisor) -> None:
    pids: list[int] = []

    async def never(pid: int) -> bool:
        pids.append(pid)
        return False

    with pytest.raises(Problem, match="has not become ready in 0 s"):
        await supervisor.start(program(tmp_path, SLEEP, ready=never, ready_timeout_s=0.3))
    assert not psutil.pid_exists(pids[0])


async def test_a_process_that_ignores_the_request_to_stop_is_killed_after_its_grace(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    ready_file = tmp_path / "ready"

    async def ready(_pid: int) -> bool:
        return ready_file.exists()

    await supervisor.start(program(tmp_path, STUBBORN, str(ready_file), ready=ready, grace_s=0.3))
    pid = supervisor.records["program"].pid
    async with asyncio.timeout(12):
        await supervisor.stop("program")
    assert not psutil.pid_exists(pid)


async def test_a_stopped_process_stays_stopped(tmp_path: Path, supervisor: Supervisor, said: list[str]) -> None:
    await supervisor.start(program(tmp_path, SLEEP))
    await supervisor.stop("program")
    await asyncio.sleep(0.8)
    assert supervisor.records == {}
    assert said == []


async def test_everything_stops_in_the_given_order(tmp_path: Path, supervisor: Supervisor) -> None:
    for name in ("first", "second", "third"):
        await supervisor.start(program(tmp_path, SLEEP, name=name))
    gone: list[str] = []
    supervisor.on_change(
        lambda: gone.extend({"first", "second", "third"} - set(supervisor.records) - set(gone)),
    )
    await supervisor.stop_all(["second", "absent", "first"])
    assert gone == ["second", "first", "third"]


async def test_a_one_shot_that_fails_is_a_problem_and_one_that_works_leaves_nothing(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    await supervisor.run_once(program(tmp_path, "print('done')"))
    assert supervisor.records == {}
    with pytest.raises(Problem, match="exit code 1"):
        await supervisor.run_once(program(tmp_path, "exit(1)"))


async def test_a_running_child_is_in_the_records_before_anyone_waits_for_it(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    seen: list[bool] = []

    async def ready(pid: int) -> bool:
        seen.append(supervisor.records["program"].pid == pid and not supervisor.records["program"].serving)
        return True

    await supervisor.start(program(tmp_path, SLEEP, ready=ready))
    assert seen == [True]
    assert supervisor.records["program"].serving


async def test_a_program_that_does_not_exist_is_one_sentence(tmp_path: Path, supervisor: Supervisor) -> None:
    missing = Spec(name="ghost", argv=("/no/such/program",), log=tmp_path / "ghost.log", marker="ghost")
    with pytest.raises(Problem, match="ghost cannot be started"):
        await supervisor.start(missing)


def test_the_wait_doubles_to_its_bound_and_forgets_after_a_long_life() -> None:
    backoff = Backoff()
    waits = [backoff.delay_s(1) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert max(waits) == BACKOFF_MAX_S
    assert backoff.delay_s(59.9) == 30
    assert backoff.delay_s(60) == 0.5


def test_the_telling_line_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("Error: old\nstarting\nFATAL: no space\nshutting down\n\n")
    assert gist_of(log) == "FATAL: no space"
    assert gist_of(log, len("Error: old\nstarting\nFATAL: no space\n")) == "shutting down"
    assert gist_of(tmp_path / "absent.log") == ""


def test_a_log_is_cut_only_past_its_bound(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"x" * LOG_BYTES_MAX)
    bound_log(log)
    assert log.stat().st_size == LOG_BYTES_MAX
    log.write_bytes(b"x" * (LOG_BYTES_MAX + 1))
    bound_log(log)
    assert log.stat().st_size == 0
    assert log.with_suffix(".log.1").stat().st_size == LOG_BYTES_MAX + 1
