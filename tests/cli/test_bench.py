"""`kontor bench`: the arithmetic of its report, who takes part, and a small real run of each command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.bench.contest import Failed, Run, answer_of
from cli.bench.contestants import NAMES, chosen
from cli.bench.growth import BYTES_PER_EVENT, require_room
from cli.bench.machine import Quiet
from cli.bench.report import GOALS, document_as_text, flatness, judged, ratio, rows_of
from cli.bench.timing import Measured, percentile_ms
from cli.main import app
from cli.stack.problem import Problem
from tests.conftest import ROOT

PROMISED = {"name", "writers", "commits_per_s", "p50_ms", "p99_ms", "ratio_to_library", "rounds"}
QUIET = Quiet(0.0, 0.1, 0.2)


def run_of(name: str, rate: float, *, writers: int = 32, p50: float = 1.0, p99: float = 4.0) -> Run:
    answer = {"commits_per_s": rate, "p50_ms": p50, "p99_ms": p99, "errors": 0}
    return Run(name, "append", writers, answer, QUIET)


def row_named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (row,) = [row for row in rows if row["name"] == name]
    return row


def kontor(folder: Path, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """`kontor bench ...` beside an installation in that folder."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "bench", *arguments],
        check=False,
        cwd=ROOT,
        env=os.environ | {"KONTOR_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def test_a_row_is_the_median_of_its_rounds_beside_those_of_the_library() -> None:
    runs = [run_of(name, rate) for name, rate in [("library", 400), ("kontor", 9_000), ("library", 500)]]
    runs += [run_of("kontor", 10_000, p50=3.0), run_of("library", 600), run_of("kontor", 30_000, p99=9.0)]
    row = row_named(rows_of(runs), "kontor")
    assert row["commits_per_s"] == 10_000
    assert row["best_commits_per_s"] == 30_000
    assert row["p50_ms"] == 1.0
    assert row["p99_ms"] == 4.0
    assert row["ratio_to_library"] == 20.0
    assert row["ratios_to_library"] == [22.5, 20.0, 50.0]
    assert [each["commits_per_s"] for each in row["rounds"]] == [9_000, 10_000, 30_000]
    assert set(row) >= PROMISED


def test_numbers_of_writers_are_compared_with_their_own_kind_only() -> None:
    rows = rows_of([run_of("library", 500, writers=1), run_of("library", 250), run_of("kontor", 1_000)])
    assert row_named(rows, "kontor")["ratio_to_library"] == 4.0
    assert [row["writers"] for row in rows] == [1, 32, 32]


def test_without_the_library_there_is_no_ratio_and_without_the_limit_no_share() -> None:
    (row,) = rows_of([run_of("kontor", 1_000)])
    assert row["ratio_to_library"] is None
    assert row["ratios_to_library"] == []
    assert row["share_of_limit"] is None


def test_nothing_is_a_ratio_of_nothing() -> None:
    assert ratio(10, 0) is None
    assert ratio(None, 10) is None
    assert ratio(10, 4) == 2.5


@pytest.mark.parametrize(
    ("kontor_rate", "p99", "expected"),
    [
        (12_500, 5.0, {"times the library": True, "times Axon": True, "share of the limit": True, "p99 in ms": True}),
        (12_499, 5.01, {"times the library": True, "times Axon": True, "share of the limit": True, "p99 in ms": False}),
        (9_000, 1.0, {"times the library": False, "times Axon": True, "share of the limit": False, "p99 in ms": True}),
        (2_000, 1.0, {"times the library": False, "times Axon": False, "share of the limit": False, "p99 in ms": True}),
    ],
)
def test_goals_are_judged_by_what_was_seen(kontor_rate: int, p99: float, expected: dict[str, bool]) -> None:
    rivals = [("library", 500), ("axon", 3_000), ("limit", 20_000)]
    rows = rows_of([run_of(name, rate) for name, rate in rivals] + [run_of("kontor", kontor_rate, p99=p99)])
    seen = {goal["name"].removeprefix("append, 32 writers: "): goal["met"] for goal in judged(rows, [])}
    assert {name: seen[name] for name in expected} == expected


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed() -> None:
    goals = judged([], [])
    assert len(goals) == len(GOALS)
    assert [(goal["seen"], goal["met"]) for goal in goals] == [(None, None)] * len(GOALS)


def test_one_writer_is_judged_by_its_p50() -> None:
    runs = [run_of("library", 500, writers=1, p50=1.0), run_of("kontor", 400, writers=1, p50=1.25)]
    (goal,) = [goal for goal in judged(rows_of(runs), []) if "1 writer:" in goal["name"]]
    assert (goal["seen"], goal["met"]) == (1.25, False)


def test_the_text_says_met_or_not_for_every_goal_and_names_the_machine() -> None:
    rows = rows_of([run_of("library", 500), run_of("kontor", 20_000)])
    document = {"machine": {"cores": 2}, "rows": rows, "decide": [], "order_500_lines": {}, "goals": judged(rows, [])}
    text = document_as_text(document)
    assert "32 writers" in text
    assert "met          append, 32 writers: times the library: 40.00, wanted at least 25" in text
    assert "not measured decide, 32 writers: times Axon: -, wanted at least 2" in text
    assert "cores               2" in text


def test_flat_is_within_a_fifth_of_the_first_size_and_better_is_flat() -> None:
    rows = [
        {"events": 1, "falling_per_s": 1_000, "rising_per_s": 1_000, "load_p50_ms": 1.0, "tail_p50_ms": 2.0},
        {"events": 3, "falling_per_s": 1_000, "rising_per_s": 1_900, "load_p50_ms": 1.2, "tail_p50_ms": 1.0},
        {"events": 9, "falling_per_s": 790, "rising_per_s": 2_000, "load_p50_ms": 1.2, "tail_p50_ms": 2.42},
    ]
    verdicts = {verdict["name"]: (verdict["changes"], verdict["flat"]) for verdict in flatness(rows)}
    assert verdicts == {
        "falling_per_s": ([1.0, 1.0, 0.79], False),
        "rising_per_s": ([1.0, 1.9, 2.0], True),
        "load_p50_ms": ([1.0, 1.2, 1.2], True),
        "tail_p50_ms": ([1.0, 0.5, 1.21], False),
    }


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 100.0)])
def test_a_percentile_is_a_latency_that_was_seen(share: float, expected: float) -> None:
    assert percentile_ms([number / 1000 for number in range(100, 0, -1)], share) == expected


def test_a_contestant_that_did_nothing_has_no_latency() -> None:
    assert percentile_ms([], 0.5) is None
    assert Measured([], 1.0).as_row() == {"commits_per_s": 0, "p50_ms": None, "p99_ms": None, "commits": 0, "errors": 0}


def test_an_answer_is_the_last_object_printed() -> None:
    assert answer_of('noise\n{"p50_ms": 1}\n{"p50_ms": 2}\nbye\n') == {"p50_ms": 2}


@pytest.mark.parametrize("said", ["", "nothing like it", '{"p50_ms": null}'])
def test_no_answer_is_a_failure(said: str) -> None:
    with pytest.raises(Failed):
        answer_of(said)


def test_peers_that_are_not_there_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "emmett").mkdir()
    present, left_out = chosen("limit,axon,emmett", tmp_path, server_is_ours=True)
    assert [each.name for each in present] == ["limit"]
    assert f"axon is left out: there is no {tmp_path / 'axon'}" in left_out[0]
    assert "npm i" in left_out[1]


def test_an_unknown_contestant_is_refused_by_naming_all() -> None:
    with pytest.raises(Problem, match=", ".join(NAMES)):
        chosen("kontor,nobody", Path("/"), server_is_ours=True)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("append", "--writers", "1,x"), "--writers is '1,x'"),
        (("append", "--mode", "fast"), "--mode is 'fast'"),
        (("append", "--only", "nobody", "--postgres-url", "nonsense://"), "--postgres-url"),
        (("growth", "--events", "19999"), "20,000 or more"),
        (("growth", "--events", "1000000000000"), "GB free"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: tuple[str, ...], part: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 1
    assert part in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_log_needs_two_and_a_half_times_its_size_of_free_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = int(1_000 * BYTES_PER_EVENT * 2.5)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    require_room(tmp_path / "not" / "there", 1_000)
    with pytest.raises(Problem, match="make room"):
        require_room(tmp_path, 1_001)


@pytest.mark.servers
def test_appends_are_measured_beside_the_library_and_the_limit(tmp_path: Path) -> None:
    only = ("--only", "limit,library,kontor", "--writers", "2", "--rounds", "1", "--seconds", "0.3")
    done = kontor(tmp_path, "append", *only, "--idle-wait", "0", "--mode", "append", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"machine", "rows", "decide", "order_500_lines", "goals"}
    assert [row["name"] for row in document["rows"]] == ["limit", "library", "kontor"]
    for row in document["rows"]:
        assert set(row) >= PROMISED
        assert row["writers"] == 2
        assert row["errors"] == 0
        assert row["commits_per_s"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert document["machine"]["fsync"] == "on"
    assert document["machine"]["synchronous_commit"] == "on"
    assert "python" not in document["machine"]["psycopg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.servers
def test_growth_is_measured_at_each_size(tmp_path: Path) -> None:
    sizes = ("--events", "20000,22000", "--rounds", "1", "--seconds", "0.3")
    done = kontor(tmp_path, "growth", *sizes, "--idle-wait", "0", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [row["events"] for row in document["rows"]] == [20_000, 22_000]
    figures = set(document["rows"][0]) - {"events"}
    assert {
        "append_commits_per_s",
        "append_p50_ms",
        "append_p99_ms",
        "load_p50_ms",
        "tail_p50_ms",
        "shard_p50_ms",
    } <= figures
    assert {verdict["name"] for verdict in document["flat"]} == figures
    assert all(row[figure] > 0 for row in document["rows"] for figure in figures)
