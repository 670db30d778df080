"""Whatever is on Kafka, the log decides: forged, changed, repeated, reordered and missing records change nothing that
the log does not say, and stop nobody."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from psycopg.sql import SQL

from adapters.wire import Linked
from adapters.wiring import Kontor
from commands.handling import Actor
from commands.users import EraseUser, RegisterUser
from domain.disclosure import PersonalField
from domain.identity import UserId, shard_of
from domain.orders import Order
from domain.users import User
from projections.inventory import STOCK
from projections.view import Recorded
from streams import erasure
from streams.applying import Chain
from streams.reacting import react_in_turn
from streams.refusing import Refusals
from streams.views import Copier, view_follower
from tests.adapters.test_record_signatures import Message
from tests.given import NOW, PASSWORD, SYSTEM, InMemory
from tests.streams.test_catching_up import FOLLOWS_STOCK, Noting
from tests.streams.test_chain import on_hand, published, receive

pytestmark = pytest.mark.servers
FAR = (2**31, 2**60, 2**63 - 1)
_BEYOND = SQL("SELECT view FROM view_positions WHERE position > (SELECT coalesce(max(notification_id), 0) FROM events)")


def message(kontor: Kontor, linked: Linked, offset: int = 0) -> Message:
    """As the relay puts it on Kafka."""
    record = linked.record
    return Message(
        topic=kontor.settings.topic_prefix + record.context,
        partition=record.shard,
        offset=offset,
        key=str(record.aggregate_id).encode(),
        value=record.state,
        headers=tuple(kontor.signatures.headers_of(linked)),
    )


def past_the_log(linked: Linked, position: int) -> Linked:
    return Linked(linked.record._replace(position=position, version=linked.record.version + 1), linked.record.position)


@pytest.mark.parametrize("position", FAR)
@pytest.mark.parametrize("together", [True, False])
async def test_a_position_past_the_log_is_neither_applied_nor_stored_even_when_it_is_signed(
    kontor: Kontor, position: int, together: bool
) -> None:
    """As after a restore of the log to an earlier moment, with Kafka as it was."""
    await receive(kontor, 2)
    await kontor.reads.fetch(FOLLOWS_STOCK, [])
    records = await published(kontor)
    last = {linked.record.shard: linked for linked in records}
    beyond = [past_the_log(linked, position) for linked in last.values()]
    chain, noting = Chain(kontor.followers), Noting()
    followers = [view_follower(STOCK, Copier(kontor.reads, kontor.copies)), noting.follower]
    for batch in (records + beyond, beyond, beyond + records):
        if together:
            await chain.take_all(followers, "inventory", batch, {})
        else:
            for follower in followers:
                await chain.take(follower, "inventory", batch)
        assert await kontor.reads.fetch(_BEYOND, []) == []
    assert await on_hand(kontor) == {"A": 2, "B": 2, "C": 2}
    assert sorted(noting.seen) == [linked.record.position for linked in records]
    assert await kontor.reads.fetch(SQL("SELECT 1 FROM parked_events"), []) == []


@pytest.mark.parametrize("seed", range(4))
async def test_forged_records_among_those_of_the_relay_change_nothing(kontor: Kontor, seed: int) -> None:
    """Unsigned, changed, moved, cut, repeated, in any order: rows are the fold of the log."""
    dice = random.Random(seed)
    await receive(kontor, 6)
    records = await published(kontor)
    signed = [message(kontor, linked, place) for place, linked in enumerate(records)]
    refusals = Refusals(kontor.signatures, kontor.pool)
    chain, follower = Chain(kontor.followers), view_follower(STOCK, Copier(kontor.reads, kontor.copies))

    def forged(real: Message) -> Message:
        match dice.randrange(5):
            case 0:
                return replace(real, headers=real.headers[:-1])
            case 1:
                return real.with_header("ce_position", b"%d" % (2**60 + dice.randrange(100)))
            case 2:
                return replace(real, partition=(real.partition + 1) % 12)
            case 3:
                return replace(real, value=real.value[:-1] if real.value else b"")
            case _:
                return replace(real, headers=(*real.headers, ("ce_position", b"1")))

    kept = [real for real in signed if dice.random() > 0.3]
    strangers = [forged(dice.choice(signed)) for _ in range(40)]
    for _ in range(3):
        batch = kept + strangers + dice.choices(kept, k=5)
        dice.shuffle(batch)
        found = [linked for each in batch if (linked := refusals.read(each)) is not None]
        assert len(found) == len(kept) + 5
        await chain.take(follower, "inventory", found)
    await chain.take(follower, "inventory", [linked for each in signed if (linked := refusals.read(each))])
    assert await on_hand(kontor) == {"A": 6, "B": 6, "C": 6}, f"seed {seed}"
    await refusals.note()
    ((refused,),) = await kontor.reads.fetch(SQL("SELECT sum(records)::int FROM refused_records"), [])
    assert refused == 3 * len(strangers)
    await refusals.note()
    assert await kontor.reads.fetch(SQL("SELECT sum(records)::int FROM refused_records"), []) == [(refused,)]


def as_if_it_had_happened(event: Any, *, position: int) -> Recorded:
    """An event that no log has, as the erasure and the checkout would be given it."""
    return Recorded(
        event=event,
        event_type=type(event).TOPIC,
        aggregate_id=event.originator_id,
        version=event.originator_version,
        position=position,
        recorded_at=NOW,
        correlation_id=UUID(int=5),
    )


async def test_a_key_is_not_destroyed_by_an_event_that_the_log_does_not_have(kontor: Kontor) -> None:
    """Even for who has the record key: what cannot be undone asks the log itself."""
    register = RegisterUser(email="ada@example.com", name="Ada", password=PASSWORD)
    ada = (await kontor.pipeline.execute(register, actor=SYSTEM)).aggregate_id
    (token,) = await kontor.personal_data.seal(ada, (PersonalField.USER_NAME, "Ada"))
    erased = User.Erased(originator_id=ada, originator_version=2, timestamp=NOW, by="eve")
    async with kontor.followers.begin("erasure", "users", [shard_of(ada)]) as transaction:
        await erasure.apply(transaction, [as_if_it_had_happened(erased, position=2**40)])
    assert await kontor.personal_data.open([(ada, PersonalField.USER_NAME, token)]) == ["Ada"]
    assert await kontor.ports.credentials.verify(ada, PASSWORD)
    await kontor.pipeline.execute(EraseUser(user_id=UserId(ada), current_password=PASSWORD), actor=Actor.user(ada, []))
    assert await kontor.personal_data.open([(ada, PersonalField.USER_NAME, token)]) == [None]


async def test_the_checkout_does_nothing_for_an_event_that_its_order_does_not_know_and_follows_the_real_one() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=5)
    order_id = await kontor.placed(await kontor.customer(), ("MUG", 3))
    await kontor.reserve(order_id)
    held = (await kontor.stock("MUG")).holds
    version = (await kontor.order(order_id)).version + 1
    named = {"originator_id": order_id, "originator_version": version, "timestamp": NOW}
    forged = [
        Order.Cancelled(**named, reason="", by="eve"),
        Order.Rejected(**named, reason=""),
        Order.Shipped(**named, carrier="", tracking_number=""),
    ]
    for event in forged:
        await react_in_turn(kontor.pipeline, [as_if_it_had_happened(event, position=2**40)])
    assert (await kontor.stock("MUG")).holds == held
    await kontor.cancel(order_id)  # the real event has the forged one's id
    cancelled = kontor.store.events[-1]
    assert (type(cancelled), cancelled.originator_version) == (Order.Cancelled, version)
    await react_in_turn(kontor.pipeline, [as_if_it_had_happened(cancelled, position=99)])
    assert (await kontor.stock("MUG")).holds == {}
