"""`kontor bench graphql`: a small run measures every server on the real system; what is judged, is judged right."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from dataclasses import replace

import pytest

from cli.bench.graphql import (
    BARE,
    CACHED,
    CACHED_304,
    COMPILED,
    NODE,
    ORDER,
    PAGE,
    PLAIN,
    SEARCH,
    _require_alike,
    document_as_text,
    judged,
    serving,
)
from cli.bench.graphql_servers import NAMES
from cli.bench.http_load import NOT_MODIFIED, Question, asked_once, figures
from cli.stack.problem import Problem
from tests.api.test_road_of_one_order import Client, anyone, order_of, settled, sku, staff  # noqa: F401  # fixtures
from tests.conftest import Stack


def test_goals_are_judged_by_medians_and_ratios() -> None:
    rates = {
        **{(PAGE, COMPILED): [90, 110, 900], (PAGE, PLAIN): [20, 22, 1], (ORDER, COMPILED): [30]},
        **{(ORDER, CACHED): [50, 60, 70], (ORDER, BARE): [100], (ORDER, NODE): [61]},
    }
    rows = [
        {"question": asked, "name": name, "answers_per_s": rate, "p50_ms": 1.0, "p99_ms": 2.0}
        for (asked, name), each in rates.items()
        for rate in each
    ]
    goals = judged(rows)
    assert [(goal["seen"], goal["met"]) for goal in goals] == [
        *[(5.5, True), (None, None)],
        *[(0.6, True), (None, None), (0.98, False), (None, None)],
    ]
    assert "compiled" in document_as_text({"rows": rows, "goals": goals, "machine": {"cores": 2}})


def test_figures_are_of_the_time_that_was_measured() -> None:
    assert figures([0.1, 0.2, 0.3], 2.0) == {"answers_per_s": 1.5, "p50_ms": 200.0, "p99_ms": 300.0}
    assert figures([], 2.0) == {"answers_per_s": 0.0, "p50_ms": None, "p99_ms": None}


@pytest.mark.parametrize(
    ("plain", "ours", "why"),
    [(b'{"data":1}', b'{"data":2}', "differ"), (b'{"errors":[1]}', b'{"errors":[1]}', "is refused")],
)
def test_servers_that_answer_otherwise_are_not_compared(plain: bytes, ours: bytes, why: str) -> None:
    with pytest.raises(Problem, match=why):
        _require_alike(PAGE, {"strawberry": plain, "ordinary": ours, "compiled": ours})


async def test_an_answer_that_comes_in_pieces_is_whole_and_anything_but_200_is_told() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 6\r\n\r\nab", b"cdef"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        question = Question(server.sockets[0].getsockname()[1], "/graphql", (), b"{}")
        assert (await asked_once(question))[1] == b"abcdef"
        pieces[:] = [b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"]
        with pytest.raises(Problem, match="500 No"):
            await asked_once(question)
        pieces[:] = [b"HTTP/1.1 304 Not Mod", b'ified\r\netag: "a"\r\n\r\n']
        head, body = await asked_once(replace(question, status=NOT_MODIFIED))
        assert (head.endswith(b'etag: "a"'), body) == (True, b"")


def test_the_limit_gives_answers_of_any_length() -> None:
    asked, answer = b'{"query":"{ views { name } }"}', b"x" * 300_000
    with serving(BARE, os.environ, json.dumps([[b64encode(asked).decode(), b64encode(answer).decode()]])) as port:
        assert asyncio.run(asked_once(Question(port, "/graphql", (), asked)))[1] == answer


@pytest.mark.servers
async def test_a_small_run_asks_every_server_in_turn(stack: Stack, staff: Client, sku: str) -> None:  # noqa: F811
    lines = {**order_of(sku), "paymentMethod": "account"}
    place = "mutation($i: PlaceOrderInput!) { placeOrder(input: $i) { order { id } } }"
    await settled(staff, (await staff(place, i=lines))["placeOrder"]["order"]["id"])
    arguments = ("bench", "graphql", "--rounds", "1", "--seconds", "0.2", "--clients", "2", "--json")
    done = await asyncio.to_thread(stack.run, *arguments, timeout_s=500)
    document = json.loads(done.stdout)
    assert [(row["question"], row["name"]) for row in document["rows"]] == [
        *[(asked, name) for asked in (ORDER, PAGE, SEARCH) for name in NAMES],
        *[(asked, CACHED_304) for asked in (ORDER, PAGE, SEARCH)],
    ]
    assert all(row["answers_per_s"] > 0 and row["p99_ms"] >= row["p50_ms"] > 0 for row in document["rows"])
    assert [goal["met"] is not None for goal in document["goals"]] == [True] * 4 + [False] * 2
