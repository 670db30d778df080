"""The whole API under a mix of 90 reads and 10 mutations, in an open loop: what people wait, by kind of request.

Against the stack that runs in this home, with all that follows from an order done beside it by its worker, on the same
machine as this program. The limit is the bare HTTP server under the same arrivals in the same run: what it takes is the
machine's and this program's own, and what is above it is Kontor's.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
import uvloop

from adapters.settings import Settings
from cli.bench.graphql import serving
from cli.bench.graphql_servers import BARE
from cli.bench.http_load import asked_once
from cli.bench.machine import wait_for_quiet
from cli.bench.mix_requests import MUTATIONS, READS, WEIGHTS, Mix, MixRequest
from cli.bench.open_loop import IN_FLIGHT_MAX, OpenLoop, Seen, dice_of, poisson
from cli.bench.report import goal_lines, machine_lines, shown
from cli.bench.shop import Shop, opened_shop
from cli.bench.timing import percentile_ms
from cli.processes import environment_of
from cli.stack.problem import Problem

OURS: Final = "kontor"
ALL: Final = "all"
WARM_UP_S_MAX: Final = 3.0
CUSTOMERS_TO_STAFF: Final = 6
GOAL_P95_MS: Final = 50
GOAL_RATE_SHARE: Final = 0.98

Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixBench:
    """How the run is made. `rate` is in requests a minute."""

    settings: Settings
    http_url: str
    rate: float
    seconds: float
    customers: int
    seed: int
    idle_wait_s: float
    say: Say

    def measure(self) -> list[Row]:
        """A row for each kind and for all of them, of the limit and of ours. Raises Problem."""
        if self.settings.environment == "production":
            raise Problem(
                "This writes products and orders that stay for ever: not where KONTOR_ENVIRONMENT=production."
            )
        port = urlsplit(self.http_url).port or 80
        dice = dice_of(self.seed)
        self.say("opening a shop: people, products, orders")
        shop = uvloop.run(
            opened_shop(
                self.settings,
                port=port,
                customers=self.customers,
                staff=max(2, self.customers // CUSTOMERS_TO_STAFF),
                dice=dice,
            )
        )
        samples, told = uvloop.run(_sampled(shop))
        environment = environment_of(self.settings)
        with serving(BARE, environment, told) as bare:
            rows = self._run(BARE, bare, lambda kind: samples[kind])
        mix = Mix(shop, dice)
        return rows + self._run(OURS, port, mix.of)

    def _run(self, name: str, port: int, request_of: Callable[[str], MixRequest]) -> list[Row]:
        quiet = wait_for_quiet(None, self.idle_wait_s)
        dice = dice_of(self.seed)  # the same arrivals of the same kinds for both
        warm_up_s = min(WARM_UP_S_MAX, self.seconds)
        arrivals = poisson(self.rate / 60, warm_up_s + self.seconds, dice)
        loop = OpenLoop(port)
        kinds = iter(dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=len(arrivals)))
        uvloop.run(loop.run(arrivals, lambda: request_of(next(kinds)), warm_up_s=warm_up_s))
        rows = [{"name": name, **row} for row in rows_of(loop.kinds, self.seconds)]
        arrived = sum(arrival >= warm_up_s for arrival in arrivals)
        rows[0] |= {
            "arrivals_per_s": round(arrived / self.seconds, 2),
            "sent_late_p95_ms": percentile_ms(loop.late_s, 0.95),
            "busy_before": quiet.busy,
            "load_1_min": round(psutil.getloadavg()[0], 2),
        }
        self.say(f"{name:<8}p95 {shown(rows[0]['p95_ms'])} ms, {rows[0]['errors']} of {rows[0]['requests']} failed")
        return rows


async def _sampled(shop: Shop) -> tuple[dict[str, MixRequest], str]:
    """One request of each kind, and what the limit is told: their answers. Raises Problem for a wrong one."""
    mix = Mix(shop, dice_of(0))
    samples = {kind: mix.of(kind) for kind in WEIGHTS}
    known = []
    for kind, sample in samples.items():
        _, body = await asked_once(sample.question)
        if fault := sample.fault(body):
            raise Problem(f"{kind} is answered with {fault}: {body[:300]!r}")
        known.append((b64encode(sample.question.body).decode(), b64encode(body).decode()))
    return samples, json.dumps(known)


def rows_of(kinds: Mapping[str, Seen], seconds: float) -> list[Row]:
    """All, reads, mutations, then each kind that was asked."""
    groups: dict[str, Seen] = {ALL: Seen(), "reads": Seen(), "mutations": Seen()}
    for kind, seen in kinds.items():
        groups[ALL] += seen
        groups["reads" if kind in READS else "mutations"] += seen
    groups |= {kind: kinds[kind] for kind in (*READS, *MUTATIONS) if kind in kinds}
    return [{"kind": kind, **seen.as_row(seconds)} for kind, seen in groups.items()]


def judged(rows: Sequence[Row]) -> list[Row]:
    """The goals, with what was seen of all requests."""
    (whole,) = [row for row in rows if (row["name"], row["kind"]) == (OURS, ALL)]
    p95, rate = whole["p95_ms"], whole["answers_per_s"] / whole["arrivals_per_s"]
    return [
        {"name": "p95 in ms", "wanted": f"below {GOAL_P95_MS}", "seen": p95,
         "met": None if p95 is None else p95 < GOAL_P95_MS},
        {"name": "requests that failed", "wanted": "none", "seen": float(whole["errors"]), "met": whole["errors"] == 0},
        {"name": "answers for each arrival", "wanted": f"at least {GOAL_RATE_SHARE}", "seen": rate,
         "met": rate >= GOAL_RATE_SHARE},
    ]  # fmt: skip


def document_as_text(document: Mapping[str, Any]) -> str:
    """All of it for a person."""
    lines = [
        f"open loop, Poisson arrivals, {document['requests_per_minute']:,.0f} requests/minute for"
        f" {document['seconds']:g} s after up to {WARM_UP_S_MAX:g} s of warm-up, {document['people']} people signed"
        f" in, at most {IN_FLIGHT_MAX} in flight;",
        "latencies from the scheduled moment; the limit `bare` answers the same bytes without looking",
    ]
    for name in dict.fromkeys(row["name"] for row in document["rows"]):
        rows = [row for row in document["rows"] if row["name"] == name]
        lines += ["", f"{name:<22}{'requests':>9}{'errors':>8}{'answers/s':>11}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"]
        for row in rows:
            codes = "  ".join(f"{code} {count}" for code, count in row["codes"].items())
            times = "".join(f"{shown(row[key]):>9}" for key in ("p50_ms", "p95_ms", "p99_ms"))
            line = f"{row['kind']:<22}{row['requests']:>9}{row['errors']:>8}{row['answers_per_s']:>11}{times}  {codes}"
            lines.append(line.rstrip())
        whole = rows[0]
        lines.append(
            f"of {whole['arrivals_per_s']} arrivals/s; sent late p95 {shown(whole['sent_late_p95_ms'])} ms;"
            f" CPUs {whole['busy_before']:.0%} busy before, load {whole['load_1_min']} after"
        )
    return "\n".join([*lines, "", *goal_lines(document["goals"]), "", *machine_lines(document["machine"])])
