"""The launcher with real servers: what survives a kill, what heals, and what ends in one sentence."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from cli.stack.home import PROJECT_ROOT
from cli.stack.servers import Servers, start_servers
from tests.conftest import place_of_its_own

pytestmark = pytest.mark.acceptance

START_S_MAX = 180.0
SECOND_START_S_MAX = 60.0


def eventually(true: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def runs(process: psutil.Process) -> bool:
    """Whether it still does something: what has ended stays in the process table until its parent looks.

    The parent of what a killed launcher left is whichever process of the machine takes orphans, in its own time.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Stack:
    """The launcher as a child of the test, in a home of its own."""

    def __init__(self, home: Path, **variables: str) -> None:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
        self.environment = {**outside, "KONTOR_HOME": str(home), **variables}
        self.home = home
        self.output = home.with_suffix(".out")

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self.output.open("w") as output:
            self.launcher = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.stub_stack"],
                cwd=PROJECT_ROOT, env=self.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def wait_until_ready(self) -> None:
        assert eventually(lambda: "READY" in self.said() or self.launcher.poll() is not None, START_S_MAX)
        assert "READY" in self.said(), self.said()

    def run_to_failure(self) -> str:
        """The one sentence a start ends with."""
        self.start()
        assert self.launcher.wait(START_S_MAX) == 1, self.said()
        assert "Traceback" not in self.said()
        assert not (self.home / "state.json").exists()
        return self.said().strip().splitlines()[-1]

    def said(self) -> str:
        return self.output.read_text()

    def stop(self) -> None:
        if self.launcher.poll() is None:
            self.launcher.send_signal(signal.SIGINT)
        self.launcher.wait(90)
        if (self.home / "state.json").exists():
            assert self.kontor("down").returncode == 0

    def kontor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=PROJECT_ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "state.json").read_text())
        return found

    def pids(self) -> dict[str, int]:
        return {name: record["pid"] for name, record in self.state()["processes"].items() if record["serving"]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return place_of_its_own(tmp_path / "home")


@pytest.fixture
def given_kafka() -> Iterator[str]:
    """Something that answers where a broker would, for tests that are about other things: it saves starting one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose servers ran once and hold one row."""
    home = tmp_path_factory.mktemp("launcher") / "home"
    with start_servers(home) as servers, psycopg.connect(servers.postgres_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    return home


def kept_answer(servers: Servers) -> int:
    with psycopg.connect(servers.postgres_url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def answers(servers: Servers) -> bool:
    try:
        return kept_answer(servers) == 42
    except psycopg.OperationalError:
        return False


def test_a_second_start_keeps_the_data_and_a_killed_server_comes_back_at_the_same_place(used_home: Path) -> None:
    began = time.monotonic()
    with start_servers(used_home) as servers:
        assert time.monotonic() - began < SECOND_START_S_MAX
        assert kept_answer(servers) == 42
        before = servers.pids()
        assert set(before) == {"postgres", "kafka", "redis"}
        for name in before:
            os.kill(before[name], signal.SIGKILL)

        def all_started_again() -> bool:
            # Right after the signal the old ids may still be told.
            after = servers.pids()
            return set(after) == set(before) and not set(after.values()) & set(before.values())

        assert eventually(all_started_again, START_S_MAX)
        after = servers.pids()
        assert eventually(lambda: answers(servers), START_S_MAX)
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in after.values()), START_S_MAX)


def test_what_a_killed_launcher_left_is_stopped_and_the_next_start_serves(used_home: Path) -> None:
    with Stack(used_home) as stack:
        stack.wait_until_ready()
        left = {name: psutil.Process(pid) for name, pid in stack.pids().items()}
        assert set(left) == {"postgres", "kafka", "redis", "relay", "worker", "api"}
        stack.launcher.kill()
        stack.launcher.wait()
        assert all(runs(process) for process in left.values())
        assert "launcher was killed" in stack.kontor("status").stderr

        stack.start()
        stack.wait_until_ready()
        assert not [name for name, process in left.items() if runs(process)]
        assert "left over from a run that was killed" in stack.said()

        second = stack.kontor("up")
        assert second.returncode == 1
        assert "already runs" in second.stderr
        assert "Traceback" not in second.stderr


def test_a_dead_process_is_started_again_and_ctrl_c_stops_everything(home: Path, given_kafka: str) -> None:
    with Stack(home, KONTOR_KAFKA_URL=given_kafka) as stack:
        stack.wait_until_ready()
        killed = stack.pids()["worker"]
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: stack.pids().get("worker", killed) != killed, START_S_MAX)
        assert "worker" in stack.said()
        assert "starting it again in 0.5 s" in stack.said()

        status = stack.kontor("status", "--json")
        assert status.returncode == 0, status.stderr
        shown = json.loads(status.stdout)
        assert shown["ready"] is True
        assert shown["processes"] == stack.pids()
        assert set(shown["logins"]) == {"admin", "staff", "customer", "analyst", "integrator"}

        running = stack.pids()
        stack.launcher.send_signal(signal.SIGINT)
        assert stack.launcher.wait(90) == 0
        assert not any(psutil.pid_exists(pid) for pid in running.values())
        nothing = stack.kontor("status")
        assert nothing.returncode == 1
        assert "Nothing runs" in nothing.stderr


def test_a_named_port_that_is_taken_ends_in_one_sentence(home: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = str(stranger.getsockname()[1])
        sentence = Stack(home, KONTOR_KAFKA_PORT=port).run_to_failure()
    assert f"Port {port}, which KONTOR_KAFKA_PORT names, is taken" in sentence


def test_a_first_start_killed_half_way_leaves_nothing_that_hinders_the_next(home: Path) -> None:
    stack = Stack(home)
    stack.start()
    assert eventually((home / "postgres" / "data.partial" / "base").exists, START_S_MAX)
    stack.launcher.kill()
    stack.launcher.wait()
    assert not (home / "postgres" / "data").exists()
    (home / "kafka" / "data.partial").mkdir(exist_ok=True)
    (home / "kafka" / "data.partial" / "meta.properties").write_text("half")

    with stack:
        stack.wait_until_ready()
        assert set(stack.pids()) >= {"postgres", "kafka", "redis"}


def test_a_stale_pid_file_that_names_a_stranger_does_not_hinder_a_start(used_home: Path) -> None:
    pid_file = used_home / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{used_home}\n0\n1\n\n127.0.0.1\n0 0\n")
    with start_servers(used_home) as servers:
        assert kept_answer(servers) == 42


def test_data_that_is_damaged_or_whose_keys_are_gone_ends_in_one_sentence(home: Path, given_kafka: str) -> None:
    (home / "postgres" / "data").mkdir(parents=True)
    sentence = Stack(home).run_to_failure()
    assert "the keys that opened it" in sentence
    assert "kontor reset" in sentence

    keys = dict.fromkeys(("postgres_password", "redis_password", "master_key", "jwt_key"), "x")
    (home / "secrets.json").write_text(json.dumps(keys))
    sentence = Stack(home, KONTOR_KAFKA_URL=given_kafka).run_to_failure()
    assert "PG_VERSION is missing" in sentence
    assert "kontor reset" in sentence


def test_jars_that_cannot_be_fetched_end_in_one_sentence(home: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    offline = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    sentence = Stack(home, **offline, NO_PROXY="", no_proxy="").run_to_failure()
    assert "of the 46 jars of Kafka could not be fetched" in sentence
    assert "connect to the network" in sentence


def test_a_step_that_fails_is_named_with_its_last_words_and_everything_stops(home: Path, given_kafka: str) -> None:
    sentence = Stack(home, KONTOR_KAFKA_URL=given_kafka, FAIL_DEMO="demo Error: no such product").run_to_failure()
    assert "demo has ended by exit code 1" in sentence
    assert "no such product" in sentence
