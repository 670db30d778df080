"""What was posted to an endpoint, over GraphQL, and a test and a replay of the whole road."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from adapters.log import LogRecord
from adapters.wiring import Kontor
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from commands.handling import Actor
from domain.users import Role
from projections.webhooks import WEBHOOKS
from streams import deliveries as posting
from streams.deliveries import Deliveries
from tests.api.reading import shown
from tests.given import ADMIN
from tests.streams.webhook_receiver import receiver, status

pytestmark = pytest.mark.servers
OWNER, OTHER = (Actor.user(uuid4(), [Role.INTEGRATOR]) for _ in range(2))
DELIVERY = "{ id eventId eventType state attempts lastStatus nextAttemptAt }"
NODE = f"""query($id: ID!, $first: Int = 50, $state: DeliveryState) {{
  node(id: $id) {{ ... on WebhookEndpoint {{ deliveries(first: $first, state: $state) {DELIVERY} }} }} }}"""
LIST = "{ webhookEndpoints { id deliveries(first: 1) { eventType } all: deliveries { id } } }"
REGISTER = """mutation($url: String!) {
  registerWebhook(input: {url: $url, types: ["order.placed"]}) { ok endpoint { id deliveries { id } } } }"""
TEST = "mutation($id: ID!) { testWebhook(endpointId: $id) { ok userErrors { message } } }"
REPLAY = 'mutation($id: ID!) { replayWebhook(endpointId: $id, since: "0") { ok endpoint { state } } }'


async def asked(kontor: Kontor, document: str, actor: Actor = OWNER, **variables: Any) -> Any:
    """The value of the one root field."""
    context = RequestContext(kontor, actor=actor, freshness=Freshness(kontor.positions, kontor.reads))
    result = await schema.execute(document, variable_values=variables, context_value=context)
    assert result.errors is None, result.errors
    assert result.data is not None
    (value,) = result.data.values()
    return value


async def registered(kontor: Kontor, url: str, actor: Actor = OWNER) -> str:
    endpoint = (await asked(kontor, REGISTER, actor, url=url))["endpoint"]
    assert endpoint["deliveries"] == []
    await shown(kontor, WEBHOOKS)
    return cast("str", endpoint["id"])


async def rows(kontor: Kontor, endpoint_id: str, *states: str) -> None:
    """A delivery in each of these states, the oldest first."""
    async with kontor.pool.connection() as connection:
        for position, state in enumerate(states):
            await connection.execute(
                "INSERT INTO webhook_deliveries (stretch_id, position, endpoint_id, event_id, event_type, subject_id,"
                " version, state, attempts, last_status) VALUES (%s, %s, %s, %s, 'order.placed', %s, 1, %s, 2, 503)",
                [UUID(endpoint_id).int % 1_000, position, endpoint_id, UUID(int=position), uuid4(), state],
            )


async def test_deliveries_are_shown_newest_first_by_state_and_so_many(kontor: Kontor) -> None:
    endpoint_id = await registered(kontor, "https://a.example/hooks")
    await rows(kontor, endpoint_id, "done", "given_up", "waiting", "done")
    found = (await asked(kontor, NODE, id=endpoint_id))["deliveries"]
    assert [each["state"] for each in found] == ["DELIVERED", "PENDING", "FAILED", "DELIVERED"]
    assert len({each["id"] for each in found}) == 4
    newest = found[0]
    assert (newest["eventId"], newest["eventType"]) == (str(UUID(int=3)), "order.placed")
    assert (newest["attempts"], newest["lastStatus"], newest["nextAttemptAt"]) == (2, 503, None)
    assert found[1]["nextAttemptAt"] is not None
    assert (await asked(kontor, NODE, id=endpoint_id, first=2))["deliveries"] == found[:2]
    delivered = await asked(kontor, NODE, id=endpoint_id, state="DELIVERED")
    assert delivered["deliveries"] == [found[0], found[3]]


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_a_page_of_deliveries_is_bounded(kontor: Kontor, first: int) -> None:
    endpoint_id = await registered(kontor, "https://a.example/hooks")
    context = RequestContext(kontor, actor=OWNER, freshness=Freshness(kontor.positions, kontor.reads))
    result = await schema.execute(NODE, variable_values={"id": endpoint_id, "first": first}, context_value=context)
    assert result.errors


async def test_deliveries_are_seen_by_whoever_sees_the_endpoint_and_of_all_endpoints_read_at_once(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await registered(kontor, "https://a.example/hooks")
    others = await registered(kontor, "https://b.example/hooks", OTHER)
    await rows(kontor, mine, "done", "done")
    await rows(kontor, others, "waiting")
    newest, read = kontor.deliveries.newest, list[int]()

    async def counted(endpoint_ids: Any, *more: Any, **named: Any) -> Any:
        read.append(len(endpoint_ids))
        return await newest(endpoint_ids, *more, **named)

    monkeypatch.setattr(kontor.deliveries, "newest", counted)
    for actor, sees in ((OWNER, {mine: 2}), (OTHER, {others: 1}), (ADMIN, {mine: 2, others: 1})):
        read.clear()
        assert {each["id"]: len(each["all"]) for each in await asked(kontor, LIST, actor)} == sees
        assert read == [len(sees)] * 2
    assert await asked(kontor, NODE, OTHER, id=mine) is None


async def test_a_test_is_posted_and_says_what_was_answered_and_a_replay_is_told(
    kontor: Kontor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "LOOK_S", 0.05)
    async with receiver() as receiving:
        endpoint_id = await registered(kontor, f"{receiving.url}/hooks")
        assert await asked(kontor, TEST, id=endpoint_id) == {"ok": True, "userErrors": []}
        (post,) = receiving.posts
        assert (post.event["type"], post.event["subject"]) == ("kontor.webhook.test", endpoint_id)
        assert post.id == post.event["id"]
        receiving.answers["/hooks"] = [status(503)]
        told = await asked(kontor, TEST, id=endpoint_id)
        message = f"{receiving.url}/hooks did not take the test: it answered 503: told 503"
        assert told == {"ok": False, "userErrors": [{"message": message}]}
        assert await asked(kontor, REPLAY, id=endpoint_id) == {"ok": True, "endpoint": {"state": "ACTIVE"}}
        assert [each.event_type for each in await log_of(kontor)] == ["webhook.registered", "webhook.replay_requested"]
        running = asyncio.create_task(Deliveries(kontor).run())
        async with asyncio.timeout(30):
            while await stretches(kontor) != [False]:  # the replay had nothing of these types, and is over
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(receiving.posts) == 2


async def log_of(kontor: Kontor) -> list[LogRecord]:
    return await kontor.log.after(0, limit=99)


async def stretches(kontor: Kontor) -> list[bool]:
    async with kontor.pool.connection() as connection:
        found = await connection.execute("SELECT replay FROM webhook_stretches ORDER BY stretch_id")
        return [replay for (replay,) in await found.fetchall()]
