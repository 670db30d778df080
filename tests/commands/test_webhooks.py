"""Webhook endpoints through the pipeline: whose they are, and what is told once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from adapters.memory import MemoryEventStore, MemoryWebhookTests, memory_ports
from commands.handling import Actor
from commands.ports import Append, Overloaded, StreamHead, VersionConflict
from commands.webhooks import (
    DisableWebhook,
    PauseWebhook,
    RegisterWebhook,
    RemoveWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    TestWebhook,
    UpdateWebhook,
)
from domain.errors import Conflict, Forbidden, IllegalTransition, Invalid, NotFound, Undelivered
from domain.identity import WebhookEndpointId
from domain.users import Role
from domain.webhooks import EndpointState
from tests.commands.test_handling import LateStore
from tests.given import ADMIN, CUSTOMER, STAFF, SYSTEM, InMemory

INTEGRATOR = Actor.user(UUID(int=0xD), [Role.INTEGRATOR])
OTHER = Actor.user(UUID(int=0xE), [Role.INTEGRATOR])
REGISTER = RegisterWebhook(url="https://shop.example/hooks", types=("order.placed",))
NOBODYS = WebhookEndpointId(UUID(int=0xBAD))


def about(endpoint_id: WebhookEndpointId) -> list[Any]:
    return [
        UpdateWebhook(endpoint_id=endpoint_id, types=("*",)),
        RotateWebhookSecret(endpoint_id=endpoint_id),
        PauseWebhook(endpoint_id=endpoint_id),
        ResumeWebhook(endpoint_id=endpoint_id),
        RemoveWebhook(endpoint_id=endpoint_id),
        ReplayWebhook(endpoint_id=endpoint_id, since=0),
        TestWebhook(endpoint_id=endpoint_id),
    ]


async def registered() -> tuple[InMemory, WebhookEndpointId]:
    kontor = InMemory()
    return kontor, WebhookEndpointId((await kontor.execute(REGISTER, INTEGRATOR)).aggregate_id)


@pytest.mark.parametrize("request_", [REGISTER, *about(NOBODYS)], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("actor", [CUSTOMER, STAFF], ids=["customer", "staff"])
async def test_endpoints_are_for_integrators(request_: Any, actor: Actor) -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(request_, actor)


@pytest.mark.parametrize("place", range(len(about(NOBODYS))))
async def test_somebody_elses_endpoint_and_a_missing_one_are_not_found_alike(place: int) -> None:
    kontor, endpoint_id = await registered()
    texts = []
    for wanted in (endpoint_id, NOBODYS):
        with pytest.raises(NotFound) as refused:
            await kontor.execute(about(wanted)[place], OTHER)
        texts.append(refused.value.message.replace(str(wanted), "ID"))
    assert texts[0] == texts[1]


async def test_the_secret_is_told_once_and_is_in_no_event() -> None:
    kontor = InMemory()
    first = await kontor.execute(REGISTER, INTEGRATOR, key="k")
    again = await kontor.execute(REGISTER, INTEGRATOR, key="k")
    assert (first.secret["secret"], dict(again.secret)) == ("whsec_1", {})
    assert not any(b"whsec_1" in stored.state for stored in kontor.store.stored)
    assert not any("whsec_1" in str(append.result) for append in kontor.store.appends)


async def test_the_secret_before_the_last_is_good_for_a_day() -> None:
    kontor, endpoint_id = await registered()
    secrets = kontor.ports.webhook_secrets
    rotated = await kontor.execute(RotateWebhookSecret(endpoint_id=endpoint_id), INTEGRATOR)
    assert rotated.secret == {"secret": "whsec_2"}
    assert await secrets.current(endpoint_id, now=kontor.clock.now()) == ["whsec_2", "whsec_1"]
    kontor.clock.advance(timedelta(hours=24))
    assert await secrets.current(endpoint_id, now=kontor.clock.now()) == ["whsec_2"]


class FailingStore(MemoryEventStore):
    """Fails the next append with `failure`, once."""

    failure: Exception | None = None

    async def append(self, append: Append) -> tuple[StreamHead, ...]:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return await super().append(append)


async def registered_in(store: MemoryEventStore) -> tuple[InMemory, RotateWebhookSecret]:
    """An endpoint in this store, and the wish to rotate its secret."""
    kontor = InMemory(replace(memory_ports(), store=store))
    endpoint_id = WebhookEndpointId((await kontor.execute(REGISTER, INTEGRATOR)).aggregate_id)
    return kontor, RotateWebhookSecret(endpoint_id=endpoint_id)


async def good(kontor: InMemory, rotate: RotateWebhookSecret) -> list[str]:
    return await kontor.ports.webhook_secrets.current(rotate.endpoint_id, now=kontor.clock.now())


async def test_a_rotation_that_lost_a_race_leaves_the_secret_before_it_good() -> None:
    store = FailingStore()
    kontor, rotate = await registered_in(store)
    store.failure = VersionConflict("a rival was first")
    told = (await kontor.execute(rotate, INTEGRATOR)).secret["secret"]
    assert await good(kontor, rotate) == [told, "whsec_1"]


async def test_a_rotation_that_was_not_stored_changes_no_secret() -> None:
    store = FailingStore()
    kontor, rotate = await registered_in(store)
    store.failure = Overloaded("the queue is full")
    with pytest.raises(Overloaded):
        await kontor.execute(rotate, INTEGRATOR)
    assert await good(kontor, rotate) == ["whsec_1"]


async def test_a_rotation_sent_to_two_processes_at_once_makes_one_secret_and_tells_it_once() -> None:
    store = LateStore()
    kontor, rotate = await registered_in(store)
    rival = InMemory(kontor.ports)
    store.blind = 2
    outcomes = await asyncio.gather(*(each.execute(rotate, INTEGRATOR, key="k") for each in (kontor, rival)))
    (told,) = [outcome.secret["secret"] for outcome in outcomes if outcome.secret]
    assert await good(kontor, rotate) == [told, "whsec_1"]


async def test_the_whole_life_of_an_endpoint() -> None:
    kontor, endpoint_id = await registered()
    for request, actor in (
        (PauseWebhook(endpoint_id=endpoint_id), INTEGRATOR),
        (ResumeWebhook(endpoint_id=endpoint_id), ADMIN),
        (DisableWebhook(endpoint_id=endpoint_id, reason="410 Gone"), SYSTEM),
        (UpdateWebhook(endpoint_id=endpoint_id, url="https://new.example/"), INTEGRATOR),
        (ResumeWebhook(endpoint_id=endpoint_id), INTEGRATOR),
        (RemoveWebhook(endpoint_id=endpoint_id), INTEGRATOR),
    ):
        for _ in range(2):
            await kontor.execute(request, actor)
    endpoint = await kontor.loaded(endpoint_id)
    assert (endpoint.state, endpoint.url, endpoint.version) == (EndpointState.REMOVED, "https://new.example/", 7)
    assert await kontor.ports.webhook_secrets.current(endpoint_id, now=kontor.clock.now()) == []


async def test_an_update_of_another_version_is_a_conflict() -> None:
    kontor, endpoint_id = await registered()
    with pytest.raises(Conflict, match="at version 1, not 2"):
        await kontor.execute(UpdateWebhook(endpoint_id=endpoint_id, types=("*",), expected_version=2), INTEGRATOR)


@pytest.mark.parametrize("change", [{"url": "http://a.example"}, {"types": ()}, {"types": ("nothing",)}])
async def test_what_cannot_be_is_invalid_and_stores_nothing(change: dict[str, Any]) -> None:
    kontor = InMemory()
    given = {"url": REGISTER.url, "types": REGISTER.types} | change
    with pytest.raises(Invalid):
        await kontor.execute(RegisterWebhook(**given), INTEGRATOR)
    assert kontor.store.stored == []


async def test_the_system_owns_no_endpoint() -> None:
    with pytest.raises(Forbidden):
        await InMemory().execute(REGISTER, Actor("system:test", frozenset({Role.ADMIN})))


async def test_a_replay_is_an_event_and_with_one_key_one_event() -> None:
    kontor, endpoint_id = await registered()
    for _ in range(2):
        await kontor.execute(ReplayWebhook(endpoint_id=endpoint_id, since=3, until=9), INTEGRATOR, key="k")
    assert kontor.store.event_types == ["webhook.registered", "webhook.replay_requested"]


async def test_a_test_is_posted_each_time_and_stores_nothing_whatever_is_answered() -> None:
    kontor, endpoint_id = await registered()
    tests = kontor.ports.webhook_tests
    assert isinstance(tests, MemoryWebhookTests)
    await kontor.execute(TestWebhook(endpoint_id=endpoint_id), INTEGRATOR)
    await kontor.execute(PauseWebhook(endpoint_id=endpoint_id), INTEGRATOR)
    tests.problem = "it answered 500"
    with pytest.raises(Undelivered, match=r"shop\.example/hooks did not take the test: it answered 500"):
        await kontor.execute(TestWebhook(endpoint_id=endpoint_id), INTEGRATOR)
    await kontor.execute(RemoveWebhook(endpoint_id=endpoint_id), INTEGRATOR)
    with pytest.raises(IllegalTransition):
        await kontor.execute(TestWebhook(endpoint_id=endpoint_id), INTEGRATOR)
    assert tests.posted == [REGISTER.url] * 2
    assert kontor.store.event_types == ["webhook.registered", "webhook.paused", "webhook.removed"]


@pytest.mark.parametrize("hidden", ["webhook.registered", "user.role_granted", "kontor.user.signed_in"])
async def test_an_integrator_registers_for_no_type_that_only_staff_may_read(hidden: str) -> None:
    kontor, endpoint_id = await registered()
    for request in (
        RegisterWebhook(url=REGISTER.url, types=("order.placed", hidden)),
        UpdateWebhook(endpoint_id=endpoint_id, types=(hidden,)),
    ):
        with pytest.raises(Invalid, match="are for STAFF and ADMIN"):
            await kontor.execute(request, INTEGRATOR)
    assert kontor.store.event_types == ["webhook.registered"]
    await kontor.execute(RegisterWebhook(url=REGISTER.url, types=(hidden,)), ADMIN)


async def test_an_admin_gives_an_endpoint_no_type_that_its_owner_may_not_read() -> None:
    kontor, endpoint_id = await registered()
    with pytest.raises(Invalid, match="are for STAFF and ADMIN"):
        await kontor.execute(UpdateWebhook(endpoint_id=endpoint_id, types=("user.role_granted",)), ADMIN)
