"""Ports: named ones are taken or refused, chosen ones stay the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.home import Home
from cli.stack.ports import CHOSEN_FROM, VARIABLES, choose_ports, is_free
from cli.stack.problem import Problem

ALL = frozenset({"postgres", "kafka", "kafka_controller", "redis", "http", "gateway"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    return Home(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        yield stranger.getsockname()[1]


def test_chosen_ports_are_distinct_free_and_stay(home: Home) -> None:
    first = choose_ports(home, preferred=False, needed=ALL)
    numbers = [first.postgres, first.kafka, first.kafka_controller, first.redis, first.http, first.gateway]
    assert len(set(numbers)) == 6
    assert all(number in CHOSEN_FROM for number in numbers)
    assert choose_ports(home, preferred=False, needed=ALL) == first


def test_a_chosen_port_that_a_stranger_took_is_replaced_and_the_others_stay(home: Home, taken: int) -> None:
    first = choose_ports(home, preferred=False, needed=ALL)
    kept = json.loads(home.ports_file.read_text())
    home.ports_file.write_text(json.dumps({**kept, "redis": taken}))
    second = choose_ports(home, preferred=False, needed=ALL)
    assert second.redis != taken
    assert (second.postgres, second.kafka, second.http) == (first.postgres, first.kafka, first.http)


def test_a_named_port_is_used(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    free = choose_ports(home, preferred=False, needed=ALL).http + 1
    monkeypatch.setenv("KONTOR_HTTP_PORT", str(free))
    assert choose_ports(home, preferred=False, needed=frozenset()).http == free


def test_a_named_port_that_is_taken_is_refused(home: Home, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_POSTGRES_PORT", str(taken))
    with pytest.raises(Problem, match=f"Port {taken}, which KONTOR_POSTGRES_PORT names, is taken"):
        choose_ports(home, preferred=False, needed=ALL)


def test_a_named_port_nobody_needs_may_be_taken(home: Home, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_POSTGRES_PORT", str(taken))
    assert choose_ports(home, preferred=False, needed=ALL - {"postgres"}).postgres == taken


@pytest.mark.parametrize("text", ["0", "65536", "eight", "-1", "8.5"])
def test_what_is_not_a_port_is_named(home: Home, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KONTOR_KAFKA_PORT", text)
    with pytest.raises(Problem, match="KONTOR_KAFKA_PORT"):
        choose_ports(home, preferred=False, needed=ALL)


def test_two_names_for_one_port_are_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_KAFKA_PORT", "23456")
    monkeypatch.setenv("KONTOR_HTTP_PORT", "23456")
    with pytest.raises(Problem, match="its own port"):
        choose_ports(home, preferred=False, needed=ALL)


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not is_free(taken)


def test_a_damaged_memory_of_ports_is_no_obstacle(home: Home) -> None:
    home.ports_file.write_text("[]")
    assert choose_ports(home, preferred=False, needed=ALL)
