"""A live import on the whole system, with processes killed in the middle: afterwards everything agrees."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_import import HEADER, first_days_of_the_real_file, independent_sums
from tests.conftest import SALES, Stack, flushing
from tests.faults.scene import delete_topics

pytestmark = pytest.mark.acceptance
IMPORT_S_MAX = 900
READY_S_MAX = 180
DAYS = int(os.environ.get("DAYS", "4"))  # of the real file; there are 11
TOPICS_AWAY_S = 6  # the longer, the surer that the group is assigned without the topics


@pytest.fixture(autouse=True, scope="module")
def as_it_is_run(stack: Stack) -> Iterator[None]:
    """Here it is killed: everything is as `kontor up` leaves it."""
    flushing(stack, "on")
    yield
    flushing(stack, "off")


def synthetic_file(path: Path, *, invoices: int, seed: int) -> tuple[int, int, Decimal]:
    """A sales file; returns lines, units and revenue of what can be sold."""
    dice = random.Random(seed)
    rows, lines, units, revenue = [], 0, 0, Decimal(0)
    for invoice in range(invoices):
        for _ in range(dice.randint(1, 12)):
            quantity, price = dice.choice([1, 2, 6, 12, -1]), Decimal(dice.randint(0, 999)) / 100
            rows.append(
                f"S{seed}-{invoice},SYN-{dice.randint(1, 40)},Cup,{quantity},03/01/2011 10:00,{price},{invoice % 9},UK"
            )
            if quantity > 0 and price > 0:
                lines, units, revenue = lines + 1, units + quantity, revenue + quantity * price
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return lines, units, revenue


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=IMPORT_S_MAX)
    assert process.returncode == 0, f"{out[-1500:]} {err[-1500:]}"
    report: dict[str, Any] = json.loads(out)
    return report


def kill(stack: Stack, process: str) -> None:
    # One killed before is not listed until the supervisor has started it again.
    give_up_at = time.monotonic() + READY_S_MAX
    while process not in (processes := stack.status["processes"]):
        assert time.monotonic() < give_up_at, processes
        time.sleep(0.1)
    killed = processes[process]
    os.kill(killed, signal.SIGKILL)
    while stack.status["processes"].get(process) == killed:  # until it is noticed, everything is said to be ready
        assert time.monotonic() < give_up_at, processes
        time.sleep(0.05)


def sales_by_day(stack: Stack, first: str, last: str) -> dict[str, tuple[int, int, Decimal]]:
    """As an analyst asks for it."""
    status = stack.status

    def ask(document: str, variables: dict[str, Any], token: str = "") -> Any:
        request = urllib.request.Request(
            status["http_url"] + "/graphql",
            json.dumps({"query": document, "variables": variables}).encode(),
            {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {}),
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            body = json.load(answer)
        assert not body.get("errors"), body
        return body["data"]

    login = status["logins"]["analyst"]
    tokens = ask("mutation($i: SignInInput!) { signIn(input: $i) { tokens { accessToken } } }", {"i": login})
    days = ask(
        "query($f: String!, $t: String!) { salesByDay(from: $f, to: $t) { day orders units revenue { amount } } }",
        {"f": first, "t": last},
        tokens["signIn"]["tokens"]["accessToken"],
    )
    return {day["day"]: (day["orders"], day["units"], Decimal(day["revenue"]["amount"])) for day in days["salesByDay"]}


def wait_ready(stack: Stack) -> None:
    give_up_at = time.monotonic() + READY_S_MAX
    while not stack.status.get("ready"):
        assert time.monotonic() < give_up_at, stack.status
        time.sleep(0.3)


@pytest.mark.parametrize(
    "victims", [("worker", "relay", "api"), ("relay", "worker", "worker"), ("redis", "postgres", "kafka")]
)
def test_kill_9_in_the_middle_of_an_import_loses_and_doubles_nothing(
    stack: Stack, tmp_path: Path, victims: tuple[str, ...]
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # to repeat a failure
    file = tmp_path / "sales.csv"
    lines, units, revenue = synthetic_file(file, invoices=150, seed=seed)
    importing = stack.start("import", str(file), "--live", "--json")
    dice = random.Random(seed)
    for victim in victims:
        time.sleep(dice.uniform(0.5, 2.5))
        kill(stack, victim)
    report = finished(importing)
    wait_ready(stack)
    assert (report["lines"], report["units"], Decimal(report["revenue"])) == (lines, units, revenue)
    assert report["orders_by_status"] == {"CONFIRMED": report["orders"]}
    stack.run("verify", timeout_s=400)


def test_a_topic_deleted_and_made_again_in_the_middle_heals_from_the_log(stack: Stack, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    file = tmp_path / "sales.csv"
    lines, units, revenue = synthetic_file(file, invoices=150, seed=seed)
    settings = stack.settings
    importing = stack.start("import", str(file), "--live", "--json")
    time.sleep(5)
    asyncio.run(delete_topics(settings, "orders", "inventory", away_s=TOPICS_AWAY_S))
    report = finished(importing)
    assert (report["lines"], report["units"], Decimal(report["revenue"])) == (lines, units, revenue)
    assert report["orders_by_status"] == {"CONFIRMED": report["orders"]}
    give_up_at = time.monotonic() + READY_S_MAX  # the relay looks for emptied partitions every ten seconds
    while (verified := stack.run("verify", timeout_s=400, check=False)).returncode:
        assert time.monotonic() < give_up_at, verified.stdout
        time.sleep(2)


def test_an_interrupted_import_goes_on_and_doubles_nothing(stack: Stack, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    file = tmp_path / "sales.csv"
    lines, units, revenue = synthetic_file(file, invoices=150, seed=seed)
    for sent in (signal.SIGINT, signal.SIGKILL):
        importing = stack.start("import", str(file), "--live", "--json")
        time.sleep(4)
        importing.send_signal(sent)
        importing.communicate(timeout=120)
    report = finished(stack.start("import", str(file), "--live", "--json"))
    assert (report["lines"], report["units"], Decimal(report["revenue"])) == (lines, units, revenue)
    again = finished(stack.start("import", str(file), "--live", "--json"))
    assert again["orders_new"] == 0
    assert again["orders"] == report["orders"]
    stack.run("verify", timeout_s=400)


@pytest.mark.skipif(not SALES.exists(), reason="the shared sales file is not here")
def test_the_real_file_arrives_to_the_penny_in_every_place(stack: Stack, tmp_path: Path) -> None:
    lines, invoices, units, revenue, days = independent_sums(first_days_of_the_real_file(tmp_path / "sales", DAYS))
    report = finished(stack.start("import", str(tmp_path / "sales"), "--live", "--json"))
    assert (report["orders"], report["lines"], report["units"]) == (invoices, lines, units)
    assert Decimal(report["revenue"]) == revenue
    assert sales_by_day(stack, "2010-12-01", "2010-12-13") == days
    assert sum(day[2] for day in days.values()) == revenue
    stack.run("verify", timeout_s=400)
