"""`kontor bench views`: its goals, its words, and a small real run that leaves nothing behind."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.bench.views import document_as_text, judged
from cli.main import app
from tests.conftest import Stack
from tests.streams.test_catching_up import installation_of

DELAY = {"stage": "delay", "commands_per_s": 200, "seen_per_s": 199, "postgres_p50_ms": 14.0, "postgres_p99_ms": 51.0}


def rates(stage: str, **named: list[float]) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "round": number, "name": name, "events_per_s": rate}
        for name, each in named.items()
        for number, rate in enumerate(each, 1)
    ]


def test_goals_are_judged_by_medians_and_by_what_stands_beside_them() -> None:
    rows = [DELAY, *rates("live", kontor=[100.0, 8_000.0, 9_000.0]), *rates("drain", kontor=[19_999.0])]
    rows += [
        *rates("catch-up", faust=[10_000.0], quix=[5_000.0], kontor=[4_999.0]),
        *rates("signing", signed=[970.0, 950.0, 960.0], unsigned=[1_000.0]),
        *rates("rebuild", kontor=[20_000.0]),
    ]
    seen = {each["name"]: (each["seen"], each["met"]) for each in judged(rows)}
    assert seen == {
        "200 commands/s: row p50 in ms": (14.0, True),
        "200 commands/s: row p99 in ms": (51.0, False),
        "live: share of a Faust worker that does nothing": (0.8, True),
        "catch-up: times Quix Streams": (1.0, True),
        "signing: share of the live rate without": (0.96, True),
        "relay: events/s": (19_999.0, False),
        "rebuild: seconds for a million events": (50.0, True),
    }


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {each["met"] for each in judged(rates("live", kontor=[1.0]))} == {None}


def test_the_text_has_every_figure_every_goal_and_the_machine() -> None:
    rows = [DELAY, *rates("drain", kontor=[1_000.0, 3_000.0, 2_000.0], aiokafka=[4_000.0])]
    text = document_as_text({"rows": rows, "goals": judged(rows), "machine": {"cores": 2}})
    assert "delay in ms at  200 commands/s (199 seen): postgres p50 14.00, postgres p99 51.00" in text
    assert "2,000 events/s   rounds 1,000 3,000 2,000" in text
    assert "NOT MET      relay: events/s" in text
    assert "cores" in text


def test_an_unknown_stage_is_refused_by_naming_all() -> None:
    result = CliRunner().invoke(app, ["bench", "views", "--stages", "drain,fast"])
    assert result.exit_code == 1
    named = "delay, drain, catch-up, live, signing, rebuild"
    assert result.stderr.strip() == f"--stages names 'fast': give some of {named}."


@pytest.mark.acceptance
def test_a_small_run_measures_every_figure(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    # That its own installation comes and goes is seen in `test_bench_checkout`.
    monkeypatch.setattr("cli.bench.commands.own_installation", lambda _: nullcontext(installation_of(stack)))
    small = ("--stages", "delay,drain,rebuild", "--events", "3000", "--rates", "20", "--seconds", "1")
    done = CliRunner().invoke(app, ["bench", "views", *small, "--idle-wait", "0", "--json"])
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    delay, *others = document["rows"]
    assert delay["missed"] == 0
    assert all(delay[f"{where}_p50_ms"] > 0 for where in ("postgres", "redis", "graphql"))
    assert [(row["stage"], row["name"]) for row in others] == [
        ("drain", "kontor"),
        ("drain", "aiokafka"),
        ("rebuild", "kontor"),
        ("rebuild", "copy"),
    ]
    assert all(row["events_per_s"] > 0 for row in others)
