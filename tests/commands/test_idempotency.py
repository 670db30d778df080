"""Keys: the three ways in which a repeated request is not simply answered, and what is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from adapters.memory import MemoryMeter, memory_ports
from commands import handling
from commands.catalogue import AddProduct
from commands.doors import PLAIN
from commands.handling import ANONYMOUS, Command, Pipeline, Result, Work, anyone
from commands.inventory import ReceiveStock
from commands.users import RegisterUser
from domain.catalogue import Product
from domain.errors import BadCredentials, IdempotencyInProgress, IdempotencyPreviousFailed, NotFound
from tests.commands.test_handling import LateStore, racing
from tests.given import GBP_2_55, NOW, PASSWORD, SYSTEM, InMemory

ADD_MUG = AddProduct(sku="MUG", name="Mug", price=GBP_2_55)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Ends when `may_end` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedOnRecord:
    """Is refused, and that is a fact."""


def mug() -> Product:
    return Product.add(sku="MUG", name="Mug", description="", price=GBP_2_55, published=True, now=NOW)


def pipeline_of(*commands: Command) -> tuple[Pipeline, Any]:
    ports = memory_ports()
    return Pipeline({command.request: command for command in commands}, ports), ports


async def test_a_key_whose_first_request_is_still_executed_is_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling, "IN_PROGRESS_S_MAX", 0.05)
    may_end = asyncio.Event()

    async def slow(_: Slow, work: Work) -> Result:
        await may_end.wait()
        return Result(work.add(mug()))

    pipeline, ports = pipeline_of(Command(Slow, slow, anyone, door=PLAIN))
    first = asyncio.create_task(pipeline.execute(Slow(), actor=SYSTEM, idempotency_key="k"))
    await asyncio.sleep(0)
    with pytest.raises(IdempotencyInProgress):
        await pipeline.execute(Slow(), actor=SYSTEM, idempotency_key="k")
    may_end.set()
    assert not (await first).replayed
    assert (await pipeline.execute(Slow(), actor=SYSTEM, idempotency_key="k")).replayed
    assert ports.store.event_types == ["product.added"]


async def test_a_second_request_that_comes_early_waits_for_the_first_and_answers_with_its_result() -> None:
    kontor = InMemory()
    outcomes = await asyncio.gather(*(kontor.execute(ADD_MUG, key="k") for _ in range(5)))
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True, True, True]
    assert len({outcome.command_id for outcome in outcomes}) == 1


async def test_a_request_that_another_process_executes_meanwhile_is_not_refused_for_what_it_did_itself() -> None:
    store = LateStore()
    kontor = InMemory(replace(memory_ports(), store=store))
    first = await kontor.execute(ADD_MUG, key="k")
    store.blind = 1  # the second has asked before the first was stored, and decides after it
    again = await kontor.execute(ADD_MUG, key="k")
    assert (again.replayed, again.command_id) == (True, first.command_id)
    assert store.event_types == ["product.added"]


async def test_a_refusal_that_is_on_record_stays_the_answer_of_its_key() -> None:
    async def refused(_: RefusedOnRecord, work: Work) -> Result:
        return Result(work.add(mug()), refusal=BadCredentials("No."))

    pipeline, ports = pipeline_of(Command(RefusedOnRecord, refused, anyone, door=PLAIN))
    with pytest.raises(BadCredentials):
        await pipeline.execute(RefusedOnRecord(), actor=SYSTEM, idempotency_key="k")
    with pytest.raises(IdempotencyPreviousFailed, match="BAD_CREDENTIALS: No"):
        await pipeline.execute(RefusedOnRecord(), actor=SYSTEM, idempotency_key="k")
    assert ports.store.event_types == ["product.added"]


async def test_a_refusal_that_stored_nothing_leaves_its_key_unused() -> None:
    kontor = InMemory()

    receive = ReceiveStock(sku="MUG", quantity=1)
    with pytest.raises(NotFound):
        await kontor.execute(receive, key="k")
    await kontor.execute(ADD_MUG)
    assert not (await kontor.execute(receive, key="k")).replayed


async def test_every_execution_is_counted_by_its_end_and_every_lost_race() -> None:
    kontor, _ = await racing(2)
    meter = MemoryMeter()
    kontor.pipeline = Pipeline(kontor.pipeline._table, replace(kontor.ports, meter=meter))

    await kontor.execute(ReceiveStock(sku="MUG", quantity=1))
    with pytest.raises(NotFound):
        await kontor.execute(ReceiveStock(sku="CUP", quantity=1))
    assert meter.ended == [("ReceiveStock", "done"), ("ReceiveStock", "NotFound")]
    assert meter.conflicts == ["ReceiveStock", "ReceiveStock"]


def test_a_field_left_at_its_default_does_not_change_what_a_key_stands_for() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Older:
        sku: str

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Newer:
        sku: str
        reference: str | None = None

    def digest(request: Any) -> bytes:
        return handling.request_digest(request, key=b"k")

    assert digest(Older(sku="A")) == digest(Newer(sku="A"))
    assert digest(Newer(sku="A")) != digest(Newer(sku="A", reference="x")) != digest(Newer(sku="B", reference="x"))


async def test_the_key_of_an_anonymous_caller_is_theirs_by_address_and_content() -> None:
    kontor = InMemory()
    here, there = (replace(ANONYMOUS, address=each) for each in ("192.0.2.1", "198.51.100.7"))
    ada = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
    bob = RegisterUser(email="bob@example.com", name="Bob", password=PASSWORD)
    first = await kontor.execute(ada, here, key="k")
    again = await kontor.execute(ada, here, key="k")
    other = await kontor.execute(bob, here, key="k")
    assert (first.replayed, again.replayed, other.replayed) == (False, True, False)
    assert first.command_id == again.command_id != other.command_id
    # Executed, not answered with the receipt of another caller.
    elsewhere = await kontor.execute(ada, there, key="k")
    assert (elsewhere.replayed, elsewhere.command_id == first.command_id) == (False, False)
