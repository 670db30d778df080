"""How fresh an answer is, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.consistency import Token
from adapters.read_store import ReadStore
from adapters.view_generations import ViewGenerations
from adapters.wiring import Kontor
from api.graphql.consistency import Freshness
from api.graphql.errors import StaleRead
from commands.handling import Actor
from commands.inventory import ReceiveStock
from commands.ports import StreamHead
from domain.errors import Invalid
from domain.identity import shard_of, stock_item_id
from projections.inventory import STOCK
from projections.orders import ORDERS
from tests.api.comparing import context_of, falls_back
from tests.api.made_documents import Made
from tests.api.reading import shown
from tests.given import STAFF
from tests.streams.test_chain import receive

ORDER_ID = uuid4()
TOKEN = Token((StreamHead(ORDER_ID, "orders", 3, 70),)).encoded()


class Positions:
    """Views that stand where the test says; waiting moves nothing."""

    def __init__(self, position: int) -> None:
        self.known = {(ORDERS.table, "orders", shard_of(ORDER_ID)): position}
        self.generations = ViewGenerations(None)  # type: ignore[arg-type]  # not asked: the first ones are live
        self.waits: list[float] = []
        self.losses = 0

    def reached(self, view: Any, token: Token) -> bool:
        return all(self.known.get(key, 0) >= least for key, least in token.required_of(view).items())

    async def wait(self, view: Any, token: Token, *, timeout_s: float) -> bool:
        self.waits.append(timeout_s)
        return self.reached(view, token)

    async def positions(self) -> dict[tuple[str, str, int], int]:
        return self.known


def asked(position: int, **headers: str) -> tuple[Freshness, Positions]:
    positions: Any = Positions(position)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Freshness.asked_by(named, positions, positions), positions


async def test_without_a_token_nothing_is_waited_for_or_said() -> None:
    freshness, positions = asked(0)
    await freshness.settle(ORDERS)
    assert (freshness.report(), positions.waits) == (None, [])


async def test_a_view_that_is_there_is_not_waited_for() -> None:
    freshness, positions = asked(70)
    freshness.require(TOKEN)
    await freshness.settle(ORDERS)
    assert freshness.report() == {"requested": 70, "served": 70, "stale": False, "waitedMs": 0}
    assert positions.waits == []


async def test_past_the_budget_the_answer_says_that_it_is_stale() -> None:
    freshness, positions = asked(69, kontor_consistent_with=TOKEN, kontor_wait_ms="100")
    await freshness.settle(ORDERS)
    assert freshness.report() == {"requested": 70, "served": 69, "stale": True, "waitedMs": 0}
    assert positions.waits == [pytest.approx(0.1)]


async def test_who_wants_nothing_older_gets_an_error() -> None:
    freshness, _ = asked(69, kontor_consistent_with=TOKEN, kontor_require="fresh")
    with pytest.raises(StaleRead, match="orders"):
        await freshness.settle(ORDERS)


async def test_a_view_that_the_token_does_not_concern_is_not_waited_for() -> None:
    freshness, positions = asked(0, kontor_consistent_with=TOKEN, kontor_require="fresh")
    await freshness.settle(STOCK)
    assert positions.waits == []


def test_tokens_of_header_and_arguments_add_up() -> None:
    other = uuid4()
    freshness, _ = asked(0, kontor_consistent_with=TOKEN)
    freshness.require(Token((StreamHead(other, "catalogue", 2, 71),)).encoded())
    assert (freshness.version_of(ORDER_ID), freshness.version_of(other), freshness.version_of(uuid4())) == (3, 2, 0)


@pytest.mark.parametrize(("asked_ms", "ms"), [("0", 0), ("5000", 5_000), ("5001", 5_000), ("999999999", 5_000)])
def test_the_budget_is_bounded(asked_ms: str, ms: int) -> None:
    assert asked(0, kontor_wait_ms=asked_ms)[0].wait_ms == ms


@pytest.mark.parametrize(
    "headers",
    [{"kontor_wait_ms": "-1"}, {"kontor_wait_ms": "x"}, {"kontor_require": "speed"}, {"kontor_consistent_with": "é"}],
)
def test_headers_that_cannot_be_understood_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        asked(0, **headers)


async def test_what_was_tried_in_vain_is_not_waited_for_again() -> None:
    freshness, positions = asked(69, kontor_consistent_with=TOKEN, kontor_wait_ms="100")
    tried = freshness.tried()
    await tried.settle(ORDERS)
    assert freshness.report() is None
    freshness.resume(tried)
    await freshness.settle(ORDERS)
    assert freshness.report() == {"requested": 70, "served": 69, "stale": True, "waitedMs": 0}
    assert positions.waits[0] == pytest.approx(0.1)


async def test_what_was_read_when_the_database_may_have_lost_it_is_said_to_be_stale() -> None:
    freshness, positions = asked(70, kontor_consistent_with=TOKEN)
    positions.losses = 3  # before anything was read
    await freshness.settle(ORDERS)
    assert freshness.report() == {"requested": 70, "served": 70, "stale": False, "waitedMs": 0}
    positions.losses += 1
    assert freshness.report() == {"requested": 70, "served": 70, "stale": True, "waitedMs": 0}
    assert freshness.refused() is None
    freshness.fresh_only = True
    assert isinstance(freshness.refused(), StaleRead)


class DiesBehind:
    """PostgreSQL dies when a view has been waited for, and has lost what was there when it is read."""

    def __init__(self, kontor: Kontor, times: int) -> None:
        self.kontor, self.times = kontor, times
        self.read = kontor.reads.by_id

    async def by_id(self, view: Any, ids: Any) -> dict[UUID, Any]:
        if self.times == 0:
            return await self.read(view, ids)
        self.times -= 1
        self.kontor.positions.losses += 1
        return {}


@pytest.mark.servers
@pytest.mark.parametrize(("times", "fresh_only", "said"), [
    (0, False, "shown"),
    (1, False, "shown"),  # the second way of answering reads again
    (2, False, "stale"),
    (1, True, "shown"),
    (2, True, "STALE_READ"),
])  # fmt: skip
async def test_a_database_that_dies_under_a_read_with_a_token(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch, times: int, fresh_only: bool, said: str
) -> None:
    await receive(kontor, 2, ("A",))
    await shown(kontor, STOCK)
    await kontor.redis.delete(kontor.copies.key(STOCK, stock_item_id("A")))
    (head,) = [record for record in await kontor.log.of_aggregates([stock_item_id("A")]) if record.version == 3]
    token = Token((StreamHead(head.aggregate_id, head.context, head.version, head.position),)).encoded()
    dies = DiesBehind(kontor, times)
    monkeypatch.setattr(ReadStore, "by_id", lambda _, *asked: dies.by_id(*asked))
    context = context_of(kontor, STAFF, token, fresh_only=fresh_only)
    body, _ = await falls_back(context, Made('{ stockItem(sku: "A") { onHand } }', {}, None))
    answer = json.loads(body)
    if said == "STALE_READ":
        assert [each["extensions"]["code"] for each in answer["errors"]] == [said]
    else:
        assert answer["data"]["stockItem"] == ({"onHand": 2} if said == "shown" else None)
        assert answer["extensions"]["consistency"]["stale"] == (said == "stale")


@pytest.mark.servers
async def test_where_views_stand_is_forgotten_with_the_connection_that_told(kontor: Kontor) -> None:
    """The server has died, and lost the last commit."""
    await receive(kontor, 1, ("A",))
    receipt = await kontor.pipeline.execute(ReceiveStock(sku="A", quantity=1), actor=Actor.system("test"))
    token = Token(receipt.heads)
    await shown(kontor, STOCK)
    assert await kontor.positions.wait(STOCK, token, timeout_s=60)
    losses = kontor.positions.losses
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE view_positions SET position = 0 WHERE view = %s", [STOCK.table])
        assert kontor.positions.reached(STOCK, token)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'kontor.view-positions' AND datname = current_database()"
        )
    async with asyncio.timeout(60):
        while kontor.positions.losses == losses:
            await asyncio.sleep(0.01)
    assert not kontor.positions.reached(STOCK, token)
    assert not await kontor.positions.wait(STOCK, token, timeout_s=1)
    async with kontor.pool.connection() as connection:
        await connection.execute("UPDATE view_positions SET position = 9 WHERE view = %s", [STOCK.table])
    assert await kontor.positions.wait(STOCK, token, timeout_s=60)
