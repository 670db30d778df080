"""How fresh an answer is, and what is said of it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from adapters.consistency import Token
from adapters.view_generations import ViewGenerations
from api.graphql.consistency import Freshness
from api.graphql.errors import StaleRead
from commands.ports import StreamHead
from domain.errors import Invalid
from domain.identity import shard_of
from projections.inventory import STOCK
from projections.orders import ORDERS

ORDER_ID = uuid4()
TOKEN = Token((StreamHead(ORDER_ID, "orders", 3, 70),)).encoded()


class Positions:
    """Views that stand where the test says; waiting moves nothing."""

    def __init__(self, position: int) -> None:
        self.known = {(ORDERS.table, "orders", shard_of(ORDER_ID)): position}
        self.generations = ViewGenerations(None)  # type: ignore[arg-type]  # not asked: the first ones are live
        self.waits: list[float] = []

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
