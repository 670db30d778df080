"""`kontor parked`: what is parked, why, and having it applied, with a worker and without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from adapters.parked_events import ParkedEvents
from adapters.wiring import Kontor
from domain.identity import stock_item_id
from streams import parking
from tests.cli.given import kontor_beside
from tests.streams.test_chain import on_hand, receive
from tests.streams.test_parking import Sick

pytestmark = pytest.mark.servers


@asynccontextmanager
async def worker(sick: Sick) -> AsyncIterator[None]:
    """Grants wishes, as a worker does."""
    table = ParkedEvents(sick.kontor.pool)
    task = asyncio.create_task(parking.grant(table, lambda: {sick.follower.name: sick.follower}, sick.chain.resume))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def sick(kontor: Kontor) -> Sick:
    await receive(kontor, 5)
    made = Sick(kontor, "B")
    made.error = ValueError("ada@example.com is no number")
    await made.take_all()
    return made


async def test_list_and_show_say_what_and_why_without_addresses(sick: Sick) -> None:
    settings, aggregate_id = sick.kontor.settings, str(stock_item_id("B"))
    listed = await kontor_beside(settings, "parked", "list", "--json")
    (one,) = json.loads(listed.stdout)
    assert (one["follower"], one["aggregate_id"], one["version"], one["events"]) == ("stock_v1", aggregate_id, 3, 4)
    assert one["reason"] == "ValueError: ***@*** is no number"
    told = await kontor_beside(settings, "parked", "list")
    assert aggregate_id in told.stdout
    shown = await kontor_beside(settings, "parked", "show", aggregate_id)
    assert [(each["version"], each["data"]["quantity"]) for each in json.loads(shown.stdout)] == [
        (3, 1), (4, 1), (5, 1), (6, 1),
    ]  # fmt: skip
    assert "ada@" not in listed.stdout + told.stdout + shown.stdout


async def test_retry_tells_whether_it_flows_again(sick: Sick) -> None:
    settings = sick.kontor.settings
    async with worker(sick):
        failed = await kontor_beside(settings, "parked", "retry")
        assert failed.returncode == 1
        assert "version 3: ValueError: ***@*** is no number" in failed.stderr
        sick.mend()
        done = await kontor_beside(settings, "parked", "retry")
    assert (done.returncode, done.stdout) == (0, "1 of 1 parked aggregates flow again\n")
    assert await on_hand(sick.kontor) == {"A": 5, "B": 5, "C": 5}
    assert (await kontor_beside(settings, "parked", "list")).stdout == "nothing is parked\n"


async def test_discard_gives_up_the_first_and_applies_those_behind(sick: Sick) -> None:
    aggregate_id = str(stock_item_id("B"))
    async with worker(sick):
        done = await kontor_beside(sick.kontor.settings, "parked", "discard", aggregate_id, "--follower", "stock_v1")
    assert done.returncode == 0, done.stderr
    assert (await on_hand(sick.kontor))["B"] == 4


async def test_without_a_worker_the_wish_stands_and_that_is_said(sick: Sick) -> None:
    sick.mend()
    waited = await kontor_beside(sick.kontor.settings, "parked", "retry", "--wait", "0.5")
    assert waited.returncode == 1
    assert "is one running?" in waited.stderr
    async with worker(sick):
        async with asyncio.timeout(60):
            while await sick.parked():
                await asyncio.sleep(0.1)
    assert (await on_hand(sick.kontor))["B"] == 5


@pytest.mark.parametrize("action", ["retry", "show"])
async def test_an_aggregate_of_which_nothing_is_parked_is_named(kontor: Kontor, action: str) -> None:
    wrong = uuid4()
    answer = await kontor_beside(kontor.settings, "parked", action, str(wrong))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"Nothing of {wrong} is parked; `kontor parked list` shows what is.\n"
