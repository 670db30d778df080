"""Webhook endpoints of owners who lose the right to own one: nothing more is posted, and the endpoint says why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from adapters.log import LogRecord
from adapters.wiring import Kontor
from commands.administration import ResumeUser, SuspendUser
from commands.handling import Actor
from commands.users import EraseUser, GrantRole, RegisterUser, RevokeRole
from commands.webhooks import PauseWebhook, ResumeWebhook
from domain.identity import UserId, event_id
from domain.users import Role, SuspensionReason
from domain.webhooks import EndpointState
from streams import deliveries as posting
from streams import effects, readers
from tests.given import SYSTEM
from tests.streams.test_deliveries import Shop, are, delivering, is_in, planned, until
from tests.streams.webhook_receiver import receiver, status

pytestmark = pytest.mark.servers
LOSSES: dict[str, Callable[[UserId], Any]] = {
    readers.SUSPENDED: lambda owner: SuspendUser(user_id=owner, reason=SuspensionReason.FRAUD),
    readers.NO_INTEGRATOR: lambda owner: RevokeRole(user_id=owner, role=Role.INTEGRATOR),
    readers.ERASED: lambda owner: EraseUser(user_id=owner),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "LOOK_S", 0.05)
    monkeypatch.setattr(posting, "PAUSE_S_MIN", 0.02)
    monkeypatch.setattr(posting, "PAUSE_S_MAX", 0.2)
    monkeypatch.setattr(effects, "GATHER_S", 0.005)


@pytest.fixture
async def shop(kontor: Kontor) -> AsyncIterator[Shop]:
    async with receiver() as receiving:
        yield Shop(kontor, receiving, await integrator(kontor, "ines@example.com"))


async def integrator(kontor: Kontor, email: str) -> Actor:
    request = RegisterUser(email=email, name="Ines", password=None, roles=(Role.INTEGRATOR,))
    return Actor.user((await kontor.pipeline.execute(request, actor=SYSTEM)).aggregate_id, [Role.INTEGRATOR])


def owner_of(shop: Shop) -> UserId:
    assert shop.owner.user_id is not None
    return UserId(shop.owner.user_id)


async def disabled(shop: Shop) -> list[LogRecord]:
    return await shop.kontor.log.matching(0, types=["webhook.disabled"], limit=9)


@pytest.mark.parametrize("reason", LOSSES)
async def test_who_loses_the_right_loses_the_endpoints_at_once_with_the_reason(shop: Shop, reason: str) -> None:
    first, _ = await shop.endpoint("/first", "product.added")
    paused, _ = await shop.endpoint("/paused", "product.added")
    await shop.do(PauseWebhook(endpoint_id=paused), shop.owner)
    theirs, shop.owner = shop.owner, await integrator(shop.kontor, "ivan@example.com")
    other, _ = await shop.endpoint("/other", "product.added")
    shop.owner = theirs
    async with delivering(shop):
        await shop.do(LOSSES[reason](owner_of(shop)))  # and nothing happens that an endpoint wants
        for endpoint_id in (first, paused):
            await until(lambda each=endpoint_id: is_in(shop, each, EndpointState.DISABLED))
        await shop.product("MUG")
        await until(lambda: shop.receiver.taken)
        await until(lambda: are(shop, other, ["done"]))
    assert [post.path for post in shop.receiver.posts] == ["/other"]
    told = await disabled(shop)
    assert {record.aggregate_id for record in told} == {first, paused}
    assert {json.loads(record.state)["reason"] for record in told} == {reason}
    assert {record.actor for record in told} == {"system:webhooks"}
    assert {record.causation_id for record in told} == {await last_event(shop)}
    assert (await shop.states(first), await shop.states(paused)) == ([], [])


async def last_event(shop: Shop) -> UUID:
    """The event by which the owner lost it."""
    records = await shop.kontor.log.of_aggregate(owner_of(shop), limit=99)
    return [event_id(each.aggregate_id, each.version) for each in records if each.event_type in readers.LOSSES][-1]


@pytest.mark.parametrize("reason", LOSSES)
async def test_what_is_tried_again_is_posted_no_more_and_is_listed_with_the_reason(shop: Shop, reason: str) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    shop.receiver.answers["/hooks"] = [status(500)]
    await shop.product("TRIED")
    await planned(shop)
    async with delivering(shop):
        await until(lambda: shop.receiver.posts)
        await shop.do(LOSSES[reason](owner_of(shop)))
        seen = len(shop.receiver.posts)
        await until(lambda: is_in(shop, endpoint_id, EndpointState.DISABLED))
        await until(lambda: is_over(shop, endpoint_id))
        await asyncio.sleep(0.5)
    assert len(shop.receiver.posts) <= seen + 1  # one that was under way
    (row,) = await shop.rows(endpoint_id)
    # Refused by the look at the account before the post, or by the endpoint, which may be disabled by then.
    assert row.state == "done" or any(each in str(row.last_error) for each in (reason, "told nothing any more"))


async def is_over(shop: Shop, endpoint_id: UUID) -> bool:
    return "waiting" not in await shop.states(endpoint_id)


async def test_without_the_news_of_the_loss_the_next_post_finds_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    await shop.product("MUG")
    await planned(shop)
    monkeypatch.setattr(posting, "LOSSES", ())
    await shop.do(LOSSES[readers.SUSPENDED](owner_of(shop)))
    async with delivering(shop):
        await until(lambda: is_in(shop, endpoint_id, EndpointState.DISABLED))
    assert shop.receiver.posts == []
    (record,) = await disabled(shop)
    assert json.loads(record.state)["reason"] == readers.SUSPENDED


async def test_an_owner_who_is_back_resumes_the_endpoint_and_is_told_what_follows(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    async with delivering(shop):
        await shop.do(LOSSES[readers.SUSPENDED](owner_of(shop)))
        await until(lambda: is_in(shop, endpoint_id, EndpointState.DISABLED))
        await shop.product("MISSED")
        await shop.do(ResumeUser(user_id=owner_of(shop)))
        await shop.do(ResumeWebhook(endpoint_id=endpoint_id), shop.owner)
        back = await shop.product("BACK")
        await until(lambda: shop.receiver.taken)
    assert [post.event["subject"] for post in shop.receiver.posts] == [str(back)]


async def test_an_admin_who_is_no_integrator_any_more_keeps_the_endpoint(shop: Shop) -> None:
    endpoint_id, _ = await shop.endpoint("/hooks", "product.added")
    await shop.do(GrantRole(user_id=owner_of(shop), role=Role.ADMIN))
    await shop.do(LOSSES[readers.NO_INTEGRATOR](owner_of(shop)))
    await shop.product("MUG")
    async with delivering(shop):
        await until(lambda: are(shop, endpoint_id, ["done"]))
    assert await disabled(shop) == []


async def test_an_owner_without_a_required_second_factor_is_told_what_an_integrator_is_told(shop: Shop) -> None:
    object.__setattr__(shop.kontor.ports, "factor_required", frozenset({Role.ADMIN}))
    await shop.do(GrantRole(user_id=owner_of(shop), role=Role.ADMIN))
    shop.owner = Actor.user(owner_of(shop), [Role.INTEGRATOR, Role.ADMIN])
    endpoint_id, _ = await shop.endpoint("/hooks", "user.role_granted", "product.added")
    await shop.do(GrantRole(user_id=owner_of(shop), role=Role.ANALYST))
    await shop.product("MUG")
    async with delivering(shop):
        await until(lambda: are(shop, endpoint_id, ["done"]))
    assert [post.event["type"] for post in shop.receiver.posts] == ["kontor.product.added"]
