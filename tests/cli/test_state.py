"""The state file and the identity of what it names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.stack.home import Home, launcher_lock, launcher_runs, load_or_make_secrets
from cli.stack.problem import Problem
from cli.stack.state import ProcessRecord, State, living, own_record, read_state, record_of, write_state

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", SLEEP])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def record(sleeper: subprocess.Popen[bytes]) -> ProcessRecord:
    return record_of(sleeper.pid, SLEEP)


def test_a_state_is_read_as_it_was_written(tmp_path: Path, record: ProcessRecord) -> None:
    home = Home(tmp_path)
    state = State(
        launcher=own_record(), ready=True, expected=("api",), http_url="http://x", settings={"A": "b"},
        processes={"api": record},
    )  # fmt: skip
    write_state(home, state)
    assert read_state(home) == state
    assert home.state_file.stat().st_mode & 0o777 == 0o600


def test_a_running_process_is_recognised_and_an_ended_one_is_not(
    sleeper: subprocess.Popen[bytes], record: ProcessRecord
) -> None:
    assert living(record) is not None
    sleeper.kill()
    # Not yet waited for, so its pid is still there: a zombie serves nobody.
    sleeper.wait()
    assert living(record) is None


def test_a_recycled_pid_is_not_taken_for_the_recorded_process(record: ProcessRecord) -> None:
    assert living(replace(record, create_time=record.create_time - 60)) is None


def test_when_the_clock_has_moved_the_command_line_decides(record: ProcessRecord) -> None:
    moved = replace(record, create_time=record.create_time - 1)
    assert living(moved) is not None
    assert living(replace(moved, marker="another program")) is None


def test_everything_expected_must_serve_for_the_whole_to_serve(record: ProcessRecord) -> None:
    serving = replace(record, serving=True)
    state = State(launcher=own_record(), ready=True, expected=("api", "relay"), processes={"api": serving})
    assert not state.serves()
    complete = replace(state, processes={"api": serving, "relay": serving})
    assert complete.serves()
    assert not replace(complete, ready=False).serves()
    assert not replace(complete, processes={"api": serving, "relay": record}).serves()


def test_only_one_holds_the_launcher_lock(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert not launcher_runs(home)
    with launcher_lock(home) as mine, launcher_lock(home) as second:
        assert mine
        assert not second
        assert launcher_runs(home)
    assert not launcher_runs(home)


def test_secrets_are_made_once_and_hidden(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = load_or_make_secrets(home)
    assert load_or_make_secrets(home) == first
    assert home.secrets_file.stat().st_mode & 0o777 == 0o600
    assert first.master_key not in repr(first)


def test_secrets_are_not_made_again_when_data_exists(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.postgres / "data").mkdir(parents=True)
    with pytest.raises(Problem, match="the keys that opened it"):
        load_or_make_secrets(home)
