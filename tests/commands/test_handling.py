"""The pipeline around every command: permission, repeating, conflicts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.domain import Aggregate

from adapters.memory import MemoryEventStore, memory_ports
from commands import COMMANDS
from commands.catalogue import AddProduct
from commands.doors import PLAIN
from commands.handling import ANONYMOUS, ATTEMPTS_MAX, IDEMPOTENCY_KEY_LENGTH_MAX, Actor, Command, Result, Work
from commands.inventory import ReceiveStock, ReleaseOrder, ReserveOrders
from commands.orders import CancelOrder
from commands.ports import Append, StoredCommand, StreamHead, VersionConflict
from domain.errors import Conflict, Forbidden, IdempotencyKeyMismatch, Invalid, Unauthenticated
from domain.identity import product_id, stock_item_id
from domain.inventory import StockItem
from tests.given import ADMIN, CUSTOMER, GBP_2_55, NOW, ORDER_ID, STAFF, SYSTEM, InMemory, order_of

ADD_MUG = AddProduct(sku="MUG", name="Mug", price=GBP_2_55)
FOR_STAFF = [ADD_MUG, ReceiveStock(sku="MUG", quantity=1)]
FOR_SYSTEM = [ReserveOrders(order_ids=(ORDER_ID,)), ReleaseOrder(order_id=ORDER_ID)]
FOR_SIGNED_IN = [order_of(("MUG", 1)), CancelOrder(order_id=ORDER_ID, reason="no")]


def name_of(request: object) -> str:
    return type(request).__name__


class RacingStore(MemoryEventStore):
    """Lets a rival receive a unit of MUG before each of the first `races` appends to it."""

    def __init__(self, races: int) -> None:
        super().__init__()
        self.races = races
        self.attempts = 0

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        self.attempts += 1
        if self.races > 0:
            self.races -= 1
            item = (await self.load([stock_item_id("MUG")]))[stock_item_id("MUG")][0]
            assert isinstance(item, StockItem)
            item.receive(quantity=1, reference="rival", now=NOW)
            rival = replace(append, command_id=UUID(int=self.attempts), events=item.collect_events())
            await super().append(rival)
        return await super().append(append)


async def racing(races: int) -> tuple[InMemory, RacingStore]:
    """A Kontor whose MUG has one unit, and rivals from now on."""
    store = RacingStore(0)
    kontor = InMemory(replace(memory_ports(), store=store))
    await kontor.product("MUG", units=1)
    store.races, store.attempts = races, 0
    return kontor, store


class BusyStore(MemoryEventStore):
    """Lets others run after every load, as a database does: whoever loads at once decides on the same state."""

    async def load(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, tuple[Aggregate, StreamHead]]:
        loaded = await super().load(aggregate_ids)
        await asyncio.sleep(0)
        return loaded


class LateStore(MemoryEventStore):
    """Does not show a stored command to the first who asks, as if both had asked at once."""

    def __init__(self) -> None:
        super().__init__()
        self.blind = 0

    async def find_command(self, command_id: UUID) -> StoredCommand | None:
        if self.blind:
            self.blind -= 1
            return None
        return await super().find_command(command_id)


@pytest.mark.parametrize("request_", FOR_STAFF + FOR_SIGNED_IN, ids=name_of)
async def test_an_anonymous_actor_is_asked_to_sign_in(request_: Any) -> None:
    kontor = InMemory()
    with pytest.raises(Unauthenticated):
        await kontor.execute(request_, ANONYMOUS)
    assert kontor.store.stored == []


@pytest.mark.parametrize("request_", FOR_STAFF + FOR_SYSTEM, ids=name_of)
async def test_a_customer_may_not_do_what_staff_or_the_system_does(request_: Any) -> None:
    kontor = InMemory()
    with pytest.raises(Forbidden):
        await kontor.execute(request_, CUSTOMER)
    assert kontor.store.stored == []


@pytest.mark.parametrize("request_", FOR_SYSTEM, ids=name_of)
@pytest.mark.parametrize("actor", [STAFF, ADMIN, ANONYMOUS], ids=["staff", "admin", "anonymous"])
async def test_nobody_but_the_system_reserves_or_releases(request_: Any, actor: Actor) -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(request_, actor)


@pytest.mark.parametrize("actor", [STAFF, ADMIN, SYSTEM], ids=["staff", "admin", "system"])
async def test_staff_admin_and_the_system_may_do_what_staff_does(actor: Actor) -> None:
    kontor = InMemory()
    for request in FOR_STAFF:
        await kontor.execute(request, actor)
    assert kontor.store.event_types == ["product.added", "stock.opened", "stock.received"]


async def test_the_outcome_names_the_aggregate_its_version_and_the_moved_heads() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    outcome = await kontor.execute(ReceiveStock(sku="MUG", quantity=3))
    assert (outcome.aggregate_id, outcome.version, outcome.replayed) == (stock_item_id("MUG"), 2, False)
    assert outcome.heads == (StreamHead(stock_item_id("MUG"), "inventory", 2, 3),)


async def test_an_append_names_the_actor_and_what_caused_it() -> None:
    kontor = InMemory()
    cause, correlation = UUID(int=77), UUID(int=78)
    await kontor.pipeline.execute(ADD_MUG, actor=STAFF, causation_id=cause, correlation_id=correlation)
    (append,) = kontor.store.appends
    assert (append.actor, append.command_name) == (f"user:{STAFF.user_id}", "AddProduct")
    assert (append.causation_id, append.correlation_id) == (cause, correlation)


async def test_a_command_without_correlation_correlates_with_itself() -> None:
    kontor = InMemory()
    outcome = await kontor.execute(ADD_MUG)
    (append,) = kontor.store.appends
    assert (append.correlation_id, append.causation_id) == (outcome.command_id, None)


async def test_the_same_key_again_answers_with_the_first_result_and_stores_nothing() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    receive = ReceiveStock(sku="MUG", quantity=3)
    first = await kontor.execute(receive, STAFF, key="k")
    stored = len(kontor.store.stored)
    again = await kontor.execute(receive, STAFF, key="k")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.command_id, again.aggregate_id, again.version) == (first.command_id, first.aggregate_id, 2)
    assert again.heads == first.heads
    assert len(kontor.store.stored) == stored
    assert (await kontor.stock("MUG")).on_hand == 3


async def test_without_a_key_the_same_request_is_executed_again() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    for _ in range(2):
        assert not (await kontor.execute(ReceiveStock(sku="MUG", quantity=3))).replayed
    assert (await kontor.stock("MUG")).on_hand == 6


async def test_the_same_key_with_other_content_is_a_mismatch() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    await kontor.execute(ReceiveStock(sku="MUG", quantity=3), STAFF, key="k")
    with pytest.raises(IdempotencyKeyMismatch) as refused:
        await kontor.execute(ReceiveStock(sku="MUG", quantity=4), STAFF, key="k")
    assert refused.value.field == ("idempotencyKey",)
    assert (await kontor.stock("MUG")).on_hand == 3


async def test_a_key_belongs_to_one_actor_and_one_command() -> None:
    kontor = InMemory()
    outcomes = [
        await kontor.execute(ADD_MUG, STAFF, key="k"),
        await kontor.execute(ReceiveStock(sku="MUG", quantity=3), STAFF, key="k"),
        await kontor.execute(ReceiveStock(sku="MUG", quantity=3), ADMIN, key="k"),
    ]
    assert not any(outcome.replayed for outcome in outcomes)
    assert (await kontor.stock("MUG")).on_hand == 6


async def test_a_refused_command_leaves_its_key_unused() -> None:
    kontor = InMemory()
    receive = ReceiveStock(sku="MUG", quantity=3)
    with pytest.raises(Exception, match="add it first"):
        await kontor.execute(receive, STAFF, key="k")
    await kontor.product("MUG")
    assert not (await kontor.execute(receive, STAFF, key="k")).replayed


async def test_a_decision_without_events_is_remembered_only_under_a_key() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 1))
    await kontor.cancel(order_id)
    appends = len(kontor.store.appends)
    await kontor.release(order_id)
    assert len(kontor.store.appends) == appends
    await kontor.execute(ReleaseOrder(order_id=order_id), key="k")
    assert len(kontor.store.appends) == appends + 1
    assert (await kontor.execute(ReleaseOrder(order_id=order_id), key="k")).replayed


@pytest.mark.parametrize("length", [0, IDEMPOTENCY_KEY_LENGTH_MAX + 1])
async def test_a_key_outside_its_bounds_is_invalid(length: int) -> None:
    kontor = InMemory()
    with pytest.raises(Invalid) as refused:
        await kontor.execute(ADD_MUG, key="k" * length)
    assert refused.value.field == ("idempotencyKey",)
    assert kontor.store.appends == []


@pytest.mark.parametrize("length", [1, IDEMPOTENCY_KEY_LENGTH_MAX])
async def test_a_key_at_its_bounds_is_good(length: int) -> None:
    assert not (await InMemory().execute(ADD_MUG, key="k" * length)).replayed


@pytest.mark.parametrize("races", [1, ATTEMPTS_MAX - 1])
async def test_a_lost_race_is_decided_again_on_the_new_state(races: int) -> None:
    kontor, store = await racing(races)
    outcome = await kontor.execute(ReceiveStock(sku="MUG", quantity=10))
    assert store.attempts == races + 1
    assert (await kontor.stock("MUG")).on_hand == 1 + races + 10
    assert outcome.version == 2 + races + 1


async def test_a_race_that_is_always_lost_ends_in_a_conflict_after_the_last_attempt() -> None:
    kontor, store = await racing(10**6)
    with pytest.raises(Conflict):
        await kontor.execute(ReceiveStock(sku="MUG", quantity=10))
    assert store.attempts == ATTEMPTS_MAX
    assert (await kontor.stock("MUG")).on_hand == 1 + ATTEMPTS_MAX


async def test_many_at_once_on_one_stream_all_succeed() -> None:
    kontor = InMemory(replace(memory_ports(), store=BusyStore()))
    await kontor.product("MUG", units=1)
    await asyncio.gather(*(kontor.execute(ReceiveStock(sku="MUG", quantity=1)) for _ in range(50)))
    assert (await kontor.stock("MUG")).on_hand == 51


async def test_of_two_executions_at_once_the_second_answers_with_the_first_result() -> None:
    store = LateStore()
    kontor = InMemory(replace(memory_ports(), store=store))
    await kontor.product("MUG")
    receive = ReceiveStock(sku="MUG", quantity=3)
    first = await kontor.execute(receive, STAFF, key="k")
    store.blind = 1
    second = await kontor.execute(receive, STAFF, key="k")
    assert (second.replayed, second.aggregate_id, second.version) == (True, first.aggregate_id, first.version)
    assert (await kontor.stock("MUG")).on_hand == 3


async def test_of_two_executions_at_once_with_other_content_the_second_is_a_mismatch() -> None:
    store = LateStore()
    kontor = InMemory(replace(memory_ports(), store=store))
    await kontor.product("MUG")
    await kontor.execute(ReceiveStock(sku="MUG", quantity=3), STAFF, key="k")
    store.blind = 1
    with pytest.raises(IdempotencyKeyMismatch):
        await kontor.execute(ReceiveStock(sku="MUG", quantity=4), STAFF, key="k")


async def test_what_a_failing_handler_decided_is_not_stored() -> None:
    @dataclass(frozen=True)
    class Fail:
        pass

    async def fail(command: Fail, work: Work) -> Result:
        work.add(StockItem.open(sku="MUG", now=work.now))
        raise Invalid("no")

    ports = memory_ports()
    kontor = InMemory(ports)
    kontor.pipeline = type(kontor.pipeline)({Fail: Command(Fail, fail, lambda _: None, door=PLAIN)}, ports)
    with pytest.raises(Invalid):
        await kontor.execute(Fail())
    assert kontor.store.stored == []


async def test_an_aggregate_of_another_kind_is_not_found() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    work = Work(kontor.ports, SYSTEM, NOW, UUID(int=1))
    assert await work.load(StockItem, product_id("MUG")) is None
    assert work.collect_events() == []


async def test_a_store_refuses_a_version_that_is_not_the_next() -> None:
    store = MemoryEventStore()
    first, second = StockItem.open(sku="MUG", now=NOW), StockItem.open(sku="MUG", now=NOW)
    other = StockItem.open(sku="CUP", now=NOW)

    def append_of(number: int, *items: StockItem) -> Append:
        return Append(
            command_id=UUID(int=number),
            command_name="Test",
            request_digest=b"",
            result={},
            actor="system:test",
            correlation_id=UUID(int=number),
            causation_id=None,
            events=[event for item in items for event in item.collect_events()],
        )

    await store.append(append_of(1, first))
    with pytest.raises(VersionConflict):
        await store.append(append_of(2, other, second))
    assert store.event_types == ["stock.opened"]
    assert await store.find_command(UUID(int=2)) is None


def test_every_command_is_listed_under_its_own_request() -> None:
    assert {request: command.request for request, command in COMMANDS.items()} == {each: each for each in COMMANDS}
