"""`kontor bench mix`: arrivals wait for nobody, latencies count from them, and a small run asks the real system."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from cli.bench.http_load import Question
from cli.bench.mix import ALL, OURS, document_as_text, judged, rows_of
from cli.bench.mix_requests import MUTATIONS, READS, WRONG, MixRequest
from cli.bench.open_loop import CLOSED, NO_ROOM, TIMED_OUT, OpenLoop, Seen, dice_of, poisson
from tests.conftest import Stack

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Plain:
    """A request whose answer is always right."""

    kind: str = "any"
    request: bytes = Question(1, "/", (), b"{}").request

    def fault(self, _: bytes) -> str | None:
        return None


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000):
            await answer(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as running:
        yield running.sockets[0].getsockname()[1]


async def test_who_comes_while_the_server_stands_still_has_waited_since_then() -> None:
    standing = asyncio.Lock()
    stands_still_s = [0.6]

    async def answer(writer: asyncio.StreamWriter) -> None:
        async with standing:
            await asyncio.sleep(stands_still_s.pop() if stands_still_s else 0)
            writer.write(ANSWER)

    async with server(answer) as port:
        loop = OpenLoop(port)
        await loop.run([0.0, 0.1, 0.2], Plain, warm_up_s=0.0)
    assert [took >= 0.3 for took in loop.kinds["any"].took_s] == [True, True, True]


async def test_what_this_program_sends_late_has_waited_since_it_was_due() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)

    def ask() -> Plain:
        time.sleep(0.4)
        return Plain()

    async with server(answer) as port:
        loop = OpenLoop(port)
        await loop.run([0.0, 0.1], ask, warm_up_s=0.0)
    assert min(loop.kinds["any"].took_s[1], loop.late_s[1]) >= 0.6


async def test_who_finds_no_room_is_told_as_failed_and_not_sent() -> None:
    let_go = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(ANSWER)

    coming = iter([lambda: None] * 3 + [let_go.set])

    def ask() -> Plain:
        asyncio.get_running_loop().call_soon(next(coming))
        return Plain()

    async with server(answer) as port:
        loop = OpenLoop(port, in_flight_max=2)
        await loop.run([0.0, 0.01, 0.02, 0.03], ask, warm_up_s=0.0)
    row = loop.kinds["any"].as_row(1.0)
    assert (row["requests"], row["errors"], row["codes"]) == (4, 2, {NO_ROOM: 2})


async def test_other_answers_and_none_are_counted_by_what_they_were() -> None:
    answers = [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", b"", ANSWER]

    async def answer(writer: asyncio.StreamWriter) -> None:
        told = answers.pop(0)
        writer.write(told) if told else writer.close()

    async with server(answer) as port:
        loop = OpenLoop(port)
        await loop.run([0.0, 0.1, 0.2], Plain, warm_up_s=0.0)
    assert loop.kinds["any"].as_row(1.0)["codes"] == {"HTTP 503": 1, CLOSED: 1}

    async with server(lambda _: asyncio.sleep(0)) as port:
        loop = OpenLoop(port, timeout_s=0.2)
        await loop.run([0.0], Plain, warm_up_s=0.0)
    assert loop.kinds["any"].as_row(1.0)["codes"] == {TIMED_OUT: 1}


async def test_what_arrives_while_it_warms_up_is_not_counted() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)

    async with server(answer) as port:
        loop = OpenLoop(port)
        await loop.run([0.0, 0.1, 0.2], Plain, warm_up_s=0.15)
    assert len(loop.kinds["any"].took_s) == len(loop.late_s) == 1


def test_arrivals_have_the_rate_and_no_rhythm() -> None:
    arrivals = poisson(100, 100, dice_of(7))
    assert 9_500 < len(arrivals) < 10_500
    gaps = sorted(later - earlier for earlier, later in pairwise(arrivals))
    assert gaps[len(gaps) // 10] < 0.002
    assert gaps[-len(gaps) // 10] > 0.02


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"data": {"order": {"id": "1"}}}, None),
        ({"data": {"order": None}}, WRONG),
        ({"data": {"order": {"id": "2"}}}, WRONG),
        ({"data": None, "errors": [{"message": "", "extensions": {"code": "STALE_READ"}}]}, "STALE_READ"),
        ({"data": {"placeOrder": {"ok": False, "userErrors": [{"code": "CONFLICT"}]}}}, "CONFLICT"),
    ],
)
def test_an_answer_is_right_or_has_a_code(body: object, fault: str | None) -> None:
    asked = MixRequest("one order", Question(1, "/", (), b""), lambda data: bool(data["order"]["id"] == "1"))
    assert asked.fault(json.dumps(body).encode()) == fault


def test_of_a_hundred_requests_ten_are_mutations_and_goals_are_judged_of_all() -> None:
    assert (sum(READS.values()), sum(MUTATIONS.values())) == (90, 10)
    kinds = {"one order": Seen([0.01] * 98), "place order": Seen([0.2])}
    kinds["place order"].errors["CONFLICT"] += 1
    rows = [{"name": OURS, **row} for row in rows_of(kinds, 10.0)]
    rows[0] |= {"arrivals_per_s": 10.0, "sent_late_p95_ms": 1.0, "busy_before": 0.5, "load_1_min": 2.0}
    assert [(row["kind"], row["requests"], row["errors"]) for row in rows] == [
        (ALL, 100, 1), ("reads", 98, 0), ("mutations", 2, 1), ("one order", 98, 0), ("place order", 2, 1),
    ]  # fmt: skip
    goals = judged(rows)
    assert [(goal["seen"], goal["met"]) for goal in goals] == [(10.0, True), (1.0, False), (0.99, True)]
    document = {"rows": rows, "goals": goals, "machine": {"cores": 2}, "seconds": 10, "people": 3}
    assert "CONFLICT 1" in document_as_text({**document, "requests_per_minute": 600})


@pytest.mark.servers
async def test_a_small_run_asks_the_whole_api_and_every_answer_is_right(stack: Stack) -> None:
    arguments = ("bench", "mix", "--rate", "1200", "--seconds", "1", "--customers", "2", "--idle-wait", "0", "--json")
    done = await asyncio.to_thread(stack.run, *arguments, timeout_s=300)
    document = json.loads(done.stdout)
    whole = {row["name"]: row for row in document["rows"] if row["kind"] == ALL}
    assert whole["bare"]["requests"] == whole[OURS]["requests"] > 5
    assert set(whole[OURS]["codes"]) <= {TIMED_OUT, "STALE_READ"}, done.stdout
    assert whole[OURS]["p99_ms"] >= whole[OURS]["p95_ms"] >= whole[OURS]["p50_ms"] > 0
    assert [goal["met"] is not None for goal in document["goals"]] == [True, True, True]
