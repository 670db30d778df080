"""`kontor bench checkout`: a small run measures both ways on the real system; what is judged, is judged right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.bench.checkout import figures, judged
from cli.stack.problem import Problem
from tests.conftest import ROOT


def test_figures_are_of_the_whole_time_and_of_each_order() -> None:
    moments = [(10.0, 10.5), (10.1, 11.0), (10.2, 12.0)]
    assert figures(moments, 3) == {"orders_per_s": 1.5, "p50_ms": 900.0, "p99_ms": pytest.approx(1800.0)}
    with pytest.raises(Problem, match="1 of 4 orders were rejected"):
        figures(moments, 4)


def test_goals_are_judged_by_medians_and_ratios() -> None:
    rates = {("spread", "kontor"): [290, 310, 900], ("one SKU", "kontor"): [100], ("one SKU", "sql"): [60]}
    rows = [{"skus": skus, "name": name, "orders_per_s": rate} for (skus, name), each in rates.items() for rate in each]
    assert [(goal["seen"], goal["met"]) for goal in judged(rows)] == [(310, True), (1.67, False)]
    assert [goal["met"] for goal in judged([])] == [None, None]


@pytest.mark.acceptance
def test_a_small_run_measures_both_ways_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "bench", "checkout", "--orders", "40", "--skus", "5", "--idle-wait", "0",
         "--flush-ms", "20", "--json"],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "KONTOR_HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [(row["skus"], row["name"]) for row in document["rows"]] == [
        ("spread", "kontor"), ("spread", "sql"), ("one SKU", "kontor"), ("one SKU", "sql"),
    ]  # fmt: skip
    assert all(row["orders_per_s"] > 0 and row["p99_ms"] >= row["p50_ms"] > 0 for row in document["rows"])
    assert [goal["met"] is not None for goal in document["goals"]] == [True, True]
    assert document["machine"]["flush_slower_by_ms"] == 20
    assert document["rows"][-1]["orders_per_s"] <= 50, "the stock of one SKU is locked while it is flushed"
    assert list(tmp_path.iterdir()) == []
