"""Webhook endpoints over GraphQL: what the mutations answer, on the in-memory twins, and who reads which."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from adapters.memory import MemoryWebhookTests
from adapters.rate_limits import RateLimits
from adapters.read_store import write
from adapters.redis_views import connect
from adapters.wiring import Kontor
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.schema import schema
from commands.handling import ANONYMOUS, Actor
from domain import EVENT_TYPES
from domain.identity import UserId, WebhookEndpointId
from domain.users import Role
from domain.webhooks import WebhookEndpoint
from projections.webhooks import WEBHOOKS
from tests.given import ADMIN, CUSTOMER, NOW, STAFF, Decision, InMemory, decide, recorded

OWNER = Actor.user(UUID(int=0xD), [Role.INTEGRATOR])
OTHER = Actor.user(UUID(int=0xE), [Role.INTEGRATOR])
ENDPOINT = "{ id url types state createdAt version }"
SHOWN = f"{{ ok userErrors {{ code field }} receipt {{ version replayed }} endpoint {ENDPOINT} secret }}"
DONE = "{ ok userErrors { code field } receipt { version replayed } }"
REGISTER = f"""mutation($url: String = "https://shop.example/hooks", $types: [String!] = ["kontor.order.placed"],
  $key: ID) {{ registerWebhook(input: {{url: $url, types: $types}}, idempotencyKey: $key) {SHOWN} }}"""


def about(name: str, shown: str = SHOWN) -> str:
    return f"mutation($id: ID!, $key: ID) {{ {name}(endpointId: $id, idempotencyKey: $key) {shown} }}"


ROTATE, PAUSE, RESUME = about("rotateWebhookSecret"), about("pauseWebhook"), about("resumeWebhook")
REMOVE = about("removeWebhook", DONE)
REPLAY = f"""mutation($id: ID!, $since: Cursor! = "3", $until: Cursor, $key: ID) {{
  replayWebhook(endpointId: $id, since: $since, until: $until, idempotencyKey: $key) {SHOWN} }}"""
TEST = (
    "mutation($id: ID!) { testWebhook(endpointId: $id) { ok userErrors { code message field } receipt { version } } }"
)
LIST = f"{{ webhookEndpoints {ENDPOINT} }}"
NODE = "query($id: ID!) { node(id: $id) { __typename id } }"


async def sent(kontor: InMemory, document: str, actor: Actor = OWNER, **variables: Any) -> Any:
    """The whole answer to one request of this actor."""
    # Posts are counted, each time in buckets of their own: Redis is away, and what was counted is forgotten.
    limits = RateLimits(connect("redis://127.0.0.1:1"), prefix="")
    served: Any = SimpleNamespace(pipeline=kontor.pipeline, store=kontor.store, rate_limits=limits)
    nothing: Any = None
    context = RequestContext(served, actor=actor, freshness=Freshness(nothing, nothing))
    return await schema.execute(document, variable_values=variables, context_value=context)


async def answer(kontor: InMemory, document: str, actor: Actor = OWNER, **variables: Any) -> dict[str, Any]:
    """The payload of the one mutation."""
    result = await sent(kontor, document, actor, **variables)
    assert result.errors is None, result.errors
    payload: dict[str, Any]
    (payload,) = result.data.values()
    return payload


async def registered() -> tuple[InMemory, str]:
    kontor = InMemory()
    return kontor, (await answer(kontor, REGISTER))["endpoint"]["id"]


async def test_who_registers_an_endpoint_sees_it_and_sees_its_secret_once() -> None:
    kontor = InMemory()
    first = await answer(kontor, REGISTER, key="k")
    assert (first["ok"], first["userErrors"], first["receipt"]) == (True, [], {"version": 1, "replayed": False})
    endpoint = first["endpoint"]
    assert endpoint == {
        "id": endpoint["id"],
        "url": "https://shop.example/hooks",
        "types": ["order.placed"],
        "state": "ACTIVE",
        "createdAt": endpoint["createdAt"],
        "version": 1,
    }
    again = await answer(kontor, REGISTER, key="k")
    assert (first["secret"], again["secret"], again["receipt"]["replayed"]) == ("whsec_1", None, True)
    assert again["endpoint"] == endpoint


async def test_an_endpoint_is_paused_resumed_and_given_another_secret_by_its_owner_or_an_admin() -> None:
    kontor, endpoint_id = await registered()
    for actor, document, state, version, secret in (
        (OWNER, PAUSE, "PAUSED", 2, None),
        (ADMIN, PAUSE, "PAUSED", 2, None),
        (ADMIN, RESUME, "ACTIVE", 3, None),
        (OWNER, ROTATE, "ACTIVE", 4, "whsec_2"),
    ):
        payload = await answer(kontor, document, actor, id=endpoint_id)
        assert (payload["ok"], payload["secret"], payload["receipt"]["version"]) == (True, secret, version)
        assert (payload["endpoint"]["state"], payload["endpoint"]["version"]) == (state, version)


async def test_a_removed_endpoint_stays_removed() -> None:
    kontor, endpoint_id = await registered()
    for _ in range(2):
        payload = await answer(kontor, REMOVE, id=endpoint_id)
        assert payload == {"ok": True, "userErrors": [], "receipt": {"version": 2, "replayed": False}}
    for document in (PAUSE, RESUME, ROTATE, REPLAY):
        refused = await answer(kontor, document, id=endpoint_id)
        assert refused["userErrors"] == [{"code": "ILLEGAL_TRANSITION", "field": None}]
        assert (refused["ok"], refused["endpoint"], refused["secret"]) == (False, None, None)


async def test_what_was_answered_before_the_removal_is_answered_again_without_the_endpoint() -> None:
    kontor, endpoint_id = await registered()
    await answer(kontor, PAUSE, id=endpoint_id, key="k")
    await answer(kontor, REMOVE, id=endpoint_id)
    again = await answer(kontor, PAUSE, id=endpoint_id, key="k")
    assert (again["ok"], again["receipt"], again["endpoint"]) == (True, {"version": 2, "replayed": True}, None)


@pytest.mark.parametrize(
    ("document", "variables", "code", "field"),
    [
        (REGISTER, {"url": "http://shop.example/"}, "INVALID", "url"),
        (REGISTER, {"types": []}, "INVALID", "types"),
        (REGISTER, {"types": ["order.lost"]}, "INVALID", "types"),
        *[
            (document, {"id": wanted}, "NOT_FOUND", "endpointId")
            for document in (ROTATE, PAUSE, RESUME, REMOVE, REPLAY)
            for wanted in ("nonsense", str(UUID(int=1)))
        ],
    ],
)
async def test_what_can_be_corrected_is_a_user_error(
    document: str, variables: dict[str, Any], code: str, field: str
) -> None:
    kontor = InMemory()
    payload = await answer(kontor, document, **variables)
    assert (payload["ok"], payload["userErrors"]) == (False, [{"code": code, "field": [field]}])
    assert kontor.store.stored == []


@pytest.mark.parametrize("document", [ROTATE, PAUSE, RESUME, REMOVE, REPLAY])
async def test_somebody_elses_endpoint_is_not_found(document: str) -> None:
    kontor, endpoint_id = await registered()
    payload = await answer(kontor, document, OTHER, id=endpoint_id)
    assert payload["userErrors"] == [{"code": "NOT_FOUND", "field": ["endpointId"]}]


@pytest.mark.parametrize("document", [REGISTER, ROTATE, PAUSE, RESUME, REMOVE, REPLAY, TEST, LIST])
@pytest.mark.parametrize("actor", [ANONYMOUS, CUSTOMER, STAFF], ids=["anonymous", "customer", "staff"])
async def test_endpoints_are_for_integrators(document: str, actor: Actor) -> None:
    kontor = InMemory()
    variables = {"id": str(UUID(int=1))} if "$id" in document else {}
    result = await sent(kontor, document, actor, **variables)
    assert result.errors
    assert (result.data, kontor.store.stored) == (None, [])


async def test_a_replay_is_asked_for_by_cursors_once_for_a_key() -> None:
    kontor, endpoint_id = await registered()
    for replayed in (False, True):
        payload = await answer(kontor, REPLAY, id=endpoint_id, since="3", until="9", key="k")
        assert (payload["ok"], payload["receipt"]) == (True, {"version": 2, "replayed": replayed})
    for wrong, field in (({"since": "x"}, "since"), ({"since": "-1"}, "since"), ({"until": "3"}, "until")):
        payload = await answer(kontor, REPLAY, id=endpoint_id, **wrong)
        assert (payload["ok"], payload["userErrors"]) == (False, [{"code": "INVALID", "field": [field]}])


async def test_a_test_says_what_the_endpoint_answered() -> None:
    kontor, endpoint_id = await registered()
    tests = kontor.ports.webhook_tests
    assert isinstance(tests, MemoryWebhookTests)
    assert await answer(kontor, TEST, id=endpoint_id) == {"ok": True, "userErrors": [], "receipt": {"version": 1}}
    tests.problem = "it answered 500"
    told = "https://shop.example/hooks did not take the test: it answered 500"
    payload = await answer(kontor, TEST, id=endpoint_id)
    assert payload["userErrors"] == [{"code": "INVALID", "message": told, "field": ["endpointId"]}]
    refused = await answer(kontor, TEST, OTHER, id=endpoint_id)
    assert [each["code"] for each in refused["userErrors"]] == ["NOT_FOUND"]
    assert len(tests.posted) == 2


async def shown(kontor: Kontor, document: str, actor: Actor, **variables: Any) -> Any:
    """What the one query answers from the views."""
    context = RequestContext(kontor, actor=actor, freshness=Freshness(kontor.positions, kontor.reads))
    result = await schema.execute(document, variable_values=variables, context_value=context)
    assert result.errors is None, result.errors
    assert result.data is not None
    (value,) = result.data.values()
    return value


async def in_view(kontor: Kontor, number: int, owner: Actor, *decisions: Decision) -> str:
    """An endpoint that the view knows, `number` minutes after noon; its id."""
    assert owner.user_id is not None
    endpoint = WebhookEndpoint.register(
        endpoint_id=WebhookEndpointId(UUID(int=0x100 - number)),
        owner_id=UserId(owner.user_id),
        url=f"https://shop.example/{number}",
        types=["order.placed", "*"],
        known_types=EVENT_TYPES,
        now=NOW + timedelta(minutes=number),
    )
    events = recorded(decide(endpoint, *decisions).collect_events())
    async with kontor.pool.connection() as connection:
        await write(connection, WEBHOOKS, events)
    return str(endpoint.id)


@pytest.mark.servers
async def test_integrators_see_their_own_endpoints_and_admins_all_oldest_first(kontor: Kontor) -> None:
    second = await in_view(kontor, 2, OWNER, ("pause", {"reason": ""}))
    first = await in_view(kontor, 1, OWNER)
    others = await in_view(kontor, 3, OTHER, ("disable", {"reason": "410 Gone"}))
    await in_view(kontor, 4, OWNER, ("remove", {}))
    whole = await shown(kontor, LIST, OWNER)
    assert whole == [
        {
            "id": endpoint_id,
            "url": f"https://shop.example/{number}",
            "types": ["order.placed", "*"],
            "state": state,
            "createdAt": f"2026-01-01T12:0{number}:00Z",
            "version": version,
        }
        for endpoint_id, number, state, version in ((first, 1, "ACTIVE", 1), (second, 2, "PAUSED", 2))
    ]
    assert [(each["id"], each["state"]) for each in await shown(kontor, LIST, OTHER)] == [(others, "DISABLED")]
    assert [each["id"] for each in await shown(kontor, LIST, ADMIN)] == [first, second, others]


@pytest.mark.servers
async def test_an_endpoint_is_a_node_for_its_owner_and_admins_until_it_is_removed(kontor: Kontor) -> None:
    there, gone = await in_view(kontor, 1, OWNER), await in_view(kontor, 2, OWNER, ("remove", {}))
    was_integrator = Actor.user(UUID(int=0xD), [Role.CUSTOMER])
    for actor, sees in ((OWNER, True), (ADMIN, True), (OTHER, False), (STAFF, False), (was_integrator, False)):
        node = await shown(kontor, NODE, actor, id=there)
        assert node == ({"__typename": "WebhookEndpoint", "id": there} if sees else None)
        assert await shown(kontor, NODE, actor, id=gone) is None
