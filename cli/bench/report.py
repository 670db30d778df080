"""From runs to what is shown: medians, ratios of runs that stand beside each other, goals, tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from cli.bench.contest import Run

BASE: Final = "library"
CEILING: Final = "limit"
OURS: Final = "kontor"

Row = dict[str, Any]


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """One row per number of writers and contestant, in the order of first appearance."""
    groups: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.writers, run.name), []).append(run)
    return [
        _row(
            name,
            writers,
            group,
            base=groups.get((writers, BASE), []),
            ceiling=groups.get((writers, CEILING), []),
        )
        for (writers, name), group in groups.items()
    ]


def _row(name: str, writers: int, runs: Sequence[Run], *, base: Sequence[Run], ceiling: Sequence[Run]) -> Row:
    rates = [run.answer["commits_per_s"] for run in runs]
    base_rates = [run.answer["commits_per_s"] for run in base]
    rate = median(rates)
    return {
        "name": name,
        "writers": writers,
        "commits_per_s": rate,
        "best_commits_per_s": max(rates),
        "p50_ms": _median_of(runs, "p50_ms"),
        "p99_ms": _median_of(runs, "p99_ms"),
        "ratio_to_library": ratio(rate, median(base_rates) if base else None),
        "ratios_to_library": [ratio(mine, theirs) for mine, theirs in zip(rates, base_rates, strict=False)],
        "share_of_limit": ratio(rate, median([run.answer["commits_per_s"] for run in ceiling]) if ceiling else None),
        "errors": sum(run.answer.get("errors", 0) for run in runs),
        "rounds": [_round(run) for run in runs],
    }


def _round(run: Run) -> Row:
    kept = {key: run.answer[key] for key in ("commits_per_s", "p50_ms", "p99_ms", "errors") if key in run.answer}
    return kept | {
        "busy": run.quiet.busy,
        "flush_p50_ms": run.quiet.flush_p50_ms,
        "flush_p90_ms": run.quiet.flush_p90_ms,
    }


def _median_of(runs: Sequence[Run], key: str) -> float | None:
    values = [run.answer[key] for run in runs if run.answer.get(key) is not None]
    return round(median(values), 3) if values else None


def ratio(mine: float | None, theirs: float | None) -> float | None:
    """How many times `theirs` `mine` is; None where one is missing or there is nothing to compare with."""
    if mine is None or not theirs:
        return None
    return round(mine / theirs, 2)


@dataclass(frozen=True, slots=True)
class Goal:
    """A target: a figure of a mode at a number of writers, relative to another contestant's where one is named."""

    name: str
    mode: str
    writers: int
    figure: str
    against: str | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"

    def judge(self, rows: Mapping[tuple[int, str], Row]) -> Row:
        """What was seen, and whether that is enough; None where it was not measured."""
        mine = rows.get((self.writers, OURS), {}).get(self.figure)
        if self.against is None:
            seen = mine
        else:
            seen = ratio(mine, rows.get((self.writers, self.against), {}).get(self.figure))
        met = None
        if seen is not None:
            met = seen >= self.at_least if self.at_least is not None else seen <= (self.at_most or 0.0)
        return {"name": self.name, "wanted": self.wanted, "seen": seen, "met": met}


RATE: Final = "commits_per_s"
GOALS: Final = (
    Goal("append, 32 writers: times the library", "append", 32, RATE, BASE, at_least=25),
    Goal("append, 32 writers: times Axon", "append", 32, RATE, "axon", at_least=3),
    Goal("append, 32 writers: share of the limit", "append", 32, RATE, CEILING, at_least=0.6),
    Goal("append, 32 writers: p99 in ms", "append", 32, "p99_ms", None, at_most=5),
    Goal("append, 1 writer: p50, times the library's", "append", 1, "p50_ms", BASE, at_most=1),
    Goal("decide, 32 writers: times the library", "decide", 32, RATE, BASE, at_least=10),
    Goal("decide, 32 writers: times Axon", "decide", 32, RATE, "axon", at_least=2),
    Goal("decide, 32 writers: times Emmett", "decide", 32, RATE, "emmett", at_least=2),
)


def judged(append: Sequence[Row], decide: Sequence[Row]) -> list[Row]:
    """Every goal, with what was seen."""
    rows = {
        "append": {(row["writers"], row["name"]): row for row in append},
        "decide": {(row["writers"], row["name"]): row for row in decide},
    }
    return [goal.judge(rows[goal.mode]) for goal in GOALS]


COLUMNS: Final = ("name", "commits/s", "best", "p50 ms", "p99 ms", "x library", "per round", "of limit", "errors")


def table(title: str, rows: Sequence[Row]) -> list[str]:
    """Aligned lines, one a contestant; nothing when there are no rows."""
    if not rows:
        return []
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(COLUMNS))]
    return ["", title, *("  ".join(_aligned(line, widths)).rstrip() for line in cells)]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['commits_per_s']:,.0f}",
        f"{row['best_commits_per_s']:,.0f}",
        shown(row["p50_ms"]),
        shown(row["p99_ms"]),
        shown(row["ratio_to_library"], 1),
        " ".join(shown(each, 1) for each in row["ratios_to_library"]) or "-",
        "-" if row["share_of_limit"] is None else f"{row['share_of_limit']:.0%}",
        str(row["errors"]),
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]


def shown(figure: float | None, digits: int = 2) -> str:
    """A figure, or a dash for what was not measured."""
    return "-" if figure is None else f"{figure:.{digits}f}"


def document_as_text(document: Mapping[str, Any]) -> str:
    """All of it for a person."""
    lines: list[str] = []
    for mode, title in (("rows", "append, one event a commit"), ("decide", "load 20 events, decide, append one")):
        for writers in dict.fromkeys(row["writers"] for row in document[mode]):
            heading = f"{title}: {writers} writer{'s' if writers > 1 else ''}"
            lines += table(heading, [row for row in document[mode] if row["writers"] == writers])
    if order := document["order_500_lines"]:
        lines += ["", "one order of 500 lines, one save"]
        lines += [
            f"{name:<10}p50 {shown(each['p50_ms'])} ms, p99 {shown(each['p99_ms'])} ms" for name, each in order.items()
        ]
    lines += ["", *goal_lines(document["goals"]), "", *machine_lines(document["machine"])]
    return "\n".join(lines).lstrip("\n")


def goal_lines(goals: Sequence[Row]) -> list[str]:
    """One line a goal: met, not met or not measured."""
    words = {True: "met", False: "NOT MET", None: "not measured"}
    return [f"{words[each['met']]:<13}{each['name']}: {shown(each['seen'])}, wanted {each['wanted']}" for each in goals]


def machine_lines(machine: Mapping[str, Any]) -> list[str]:
    """What the figures were taken on."""
    return [f"{name.replace('_', ' '):<20}{value}" for name, value in machine.items()]


FLAT_WITHIN: Final = 0.2
EVENTS: Final = "events"


def flatness(rows: Sequence[Row]) -> list[Row]:
    """For each figure, how it stands at each size relative to the first, and whether it stays within 20 % of it.

    Better than the first is flat, too: a rate may rise, a latency may fall."""
    found = []
    for name in (name for name in rows[0] if name != EVENTS):
        changes = [ratio(row[name], rows[0][name]) for row in rows]
        known = [change for change in changes if change is not None]
        rate = name.endswith("_per_s")
        flat = all(change >= 1 - FLAT_WITHIN if rate else change <= 1 + FLAT_WITHIN for change in known)
        found.append({"name": name, "changes": changes, "flat": flat})
    return found


def growth_as_text(document: Mapping[str, Any]) -> str:
    """A line a figure, a column a size."""
    rows = document["rows"]
    heads = ["", *(f"{row[EVENTS]:,}" for row in rows), "", ""]
    lines = [heads]
    for verdict in document["flat"]:
        figures = [f"{row[verdict['name']]:,}" for row in rows]
        changes = " ".join(shown(change) for change in verdict["changes"])
        lines.append([verdict["name"].replace("_", " "), *figures, changes, "flat" if verdict["flat"] else "NOT FLAT"])
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    shown_lines = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    return "\n".join([*shown_lines, "", *machine_lines(document["machine"])])
