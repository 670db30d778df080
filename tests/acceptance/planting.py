"""Markers that clients send: in GraphQL's inputs and documents, in headers, over WebSocket, as the payment provider.

`Hide` and `Show` make a marker for a place: of a text that must be found nowhere in clear, and of one that may be.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
from graphql import GraphQLEnumType, GraphQLInputObjectType, get_named_type, get_nullable_type, is_list_type
from pydantic.alias_generators import to_camel
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.graphql.schema import schema
from api.rest.forms import PUBLIC
from api.rest.payments import PATH as PROVIDER
from domain.disclosure import Disclosure, classified
from tests.api.following import STOCK
from tests.api.generated import Root, Slot, roots
from tests.api.test_road_of_one_order import Client
from tests.conftest import Stack

Hide = Callable[[str], str]
Show = Callable[[], str]
TEXTS = {"String", "ID", "Cursor", "ConsistencyToken", "Decimal", "CurrencyCode", "DateTime"}
# How a marker is made into a text that its field takes.
SHAPES = {"email": "{}@person.example", "url": "https://{}.example/hook"}
ADDED = "mutation($i: ReceiveStockInput!) { receiveStock(input: $i) { ok userErrors { message } } }"
LOOK = "{ __typename }"
SILENT_S = 0.3


# --- inputs of GraphQL


async def plant_in_inputs(hide: Hide, show: Show, by_variable: Client, by_literal: Client) -> None:
    """In each text of each root field, as a variable and as a literal of the document."""
    for root in roots(schema._schema):
        for slot, kind in root.slots():
            if get_named_type(kind).name not in TEXTS:
                continue
            where = f"{root.place}({'.'.join(slot)})"
            for client, way in ((by_variable, "variable"), (by_literal, "literal")):
                marker = show() if is_plain(root, slot) else hide(f"{where} as a {way}")
                text = SHAPES.get(slot[-1], "{}").format(marker)
                given = root.with_value(slot, [text] if is_list_type(get_nullable_type(kind)) else text)
                document, variables = (root.document, given) if way == "variable" else (with_literals(root, given), {})
                await posted(client, {"query": document, "variables": variables})


def is_plain(root: Root, slot: Slot) -> bool:
    """Is it a text that its command keeps as it is typed?"""
    (command,) = [each for each in PUBLIC.values() if camel(each.name) == root.name] or [None]
    path = tuple(step for step in slot if step not in ("input", "set"))
    return command is not None and any(
        each.disclosure is Disclosure.PLAIN
        and tuple(to_camel(part.rpartition(".")[2]) for part in each.place.split(" > ")) == path
        for each in classified(command.request)
    )


def camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def with_literals(root: Root, given: dict[str, Any]) -> str:
    """The document of the root field, with the values in it."""
    passed = ", ".join(f"{name}: {literal(root.field.args[name].type, value)}" for name, value in given.items())
    asked = root.document.rpartition(f"{{ {root.name}")[2].partition("{")[2]
    return f"{root.operation} {{ {root.name}{f'({passed})' if passed else ''} {{{asked}"


def literal(kind: Any, value: Any) -> str:
    bare = get_nullable_type(kind)
    if isinstance(value, list):
        return "[" + ", ".join(literal(bare.of_type, each) for each in value) + "]"
    if isinstance(bare, GraphQLInputObjectType):
        return "{" + ", ".join(f"{name}: {literal(bare.fields[name].type, each)}" for name, each in value.items()) + "}"
    return str(value) if isinstance(bare, GraphQLEnumType) else json.dumps(value)


async def posted(client: Client, body: dict[str, Any]) -> None:
    head = {"Authorization": f"Bearer {client.token}"} if client.token else {}
    async with client.http.post(f"{client.url}/graphql", json=body, headers=head) as answer:
        told = await answer.text()
        assert answer.status < 500, told
        assert '"INTERNAL"' not in told, (body, told)


# --- documents, and what stands beside them


def documents(hide: Hide) -> Iterator[dict[str, Any]]:
    """Requests with a text of the client's own in each place of a document that may have one."""
    for name in (hide("operation name"), hide("operation name that is not there")):
        yield {"query": f"query {name} {{ me {{ id }} }}", "operationName": name}
        yield {"query": f"query {name} {{ categories {{ id }} }}", "operationName": f"{name}x"}
        yield {"query": f"query {name} {{ products(first: 101) {{ nodes {{ id }} }} }}"}
        yield {"query": f"mutation {name} {{ shipOrder(orderId: 1) {{ ok }} }}"}
    yield {"query": f"# {hide('comment')}\n{LOOK}"}
    yield {"query": f"{{ {hide('field')} }}"}
    yield {"query": f"{{ {hide('alias')}: views {{ name }} {hide('alias of another')}: user(id: 1) {{ id }} }}"}
    yield {"query": f"{{ ...{(name := hide('fragment'))} }} fragment {name} on Query {{ __typename }}"}
    yield {"query": f"{{ __typename @{hide('directive')} }}"}
    yield {"query": f'{{ product(sku: "{hide("broken document")}" }}'}
    yield {"query": f'{{ product(sku: "{hide("literal")}") {{ id }} }}'}
    yield {"query": "query($i: ID!) { order(id: $i) { number } }", "variables": {"i": hide("variable")}}
    yield {"query": "query($i: Int!) { order(id: $i) { number } }", "variables": {"i": hide("variable of no type")}}
    yield {"query": LOOK, "variables": {hide("name of a variable"): 1}}
    name = hide("declared variable")
    yield {"query": f"query(${name}: Int) {{ products(first: ${name}) {{ totalCount }} }}"}
    yield {"query": LOOK, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hide("digest")}}}
    yield {"query": LOOK, "extensions": {hide("extension"): hide("value of an extension")}}
    yield {"query": LOOK, hide("name of a request's field"): 1}
    yield {"query": "a" * 50_000 + hide("document that is too long")}


async def plant_in_documents(hide: Hide, http: aiohttp.ClientSession, url: str) -> None:
    for body in documents(hide):
        await posted(Client(http, url), body)
    async with http.post(f"{url}/graphql", data=f'{{"query": "{hide("no JSON")}'.encode()) as answer:
        assert answer.status < 500


# --- headers and addresses


async def plant_in_headers(hide: Hide, name: str, staff: Client, sku: str) -> None:
    """`name` is what a client calls its requests, in each of them."""
    heads = [{field: hide(f"header {field}")} for field in HEADERS] + [
        {"Authorization": f"Bearer {hide('Authorization')}"},
        {"Authorization": hide("Authorization without scheme")},
        {"Origin": f"https://{hide('Origin')}.example"},
        {"Host": f"{hide('Host')}.example"},
        {"X-Request-Id": f"no id, but a text {hide('X-Request-Id that is none')}"},
        {"Content-Type": f"text/{hide('Content-Type')}"},
        {"traceparent": f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-{hide('traceparent')}"},
        {"baggage": f"userId={hide('baggage')}"},
    ]
    for head in heads:
        for path, body in (
            ("/graphql", {"query": ADDED, "variables": {"i": {"sku": sku, "quantity": 1}}}),
            ("/graphql", {"query": "{ views { name } user(id: 1) { name } }"}),
            ("/v1/commands/receive-stock", {"sku": sku, "quantity": 1}),
        ):
            known = {"Authorization": f"Bearer {staff.token}", "X-Request-Id": name, "Stripe-Signature": "t=1,v1=0"}
            async with staff.http.post(staff.url + path, json=body, headers=known | head) as answer:
                assert answer.status < 500, (head, path, await answer.text())
    for path in (f"/{hide('path')}", f"/v1/commands/{hide('path of a command')}", f"/graphql?query={hide('query')}"):
        async with staff.http.post(staff.url + path, json={}, headers={"X-Request-Id": name}) as answer:
            assert answer.status < 500, path


HEADERS = """Idempotency-Key User-Agent Cookie Referer Accept Accept-Language tracestate X-Forwarded-For
Forwarded Kontor-Consistent-With Kontor-Wait-Ms Kontor-Require If-None-Match Stripe-Signature
X-Forwarded-Host X-Of-The-Client""".split()


# --- WebSocket


async def plant_over_websocket(hide: Hide, name: str, staff: Client) -> None:
    """Every text of a handshake and of a client's messages: where it is served, and where it is refused."""
    address = f"{staff.url.replace('http', 'ws', 1)}/graphql"
    welcome = {"type": "connection_init", "payload": {"authorization": f"Bearer {staff.token}"}}
    await said(address, [*({"type": "subscribe", "id": str(n), "payload": each}
                           for n, each in enumerate(payloads(hide)))], welcome=welcome, name=name)  # fmt: skip
    for message in (
        {"type": "subscribe", "id": hide("operation id"), "payload": {"query": "subscription { none }"}},
        {"type": "ping", "payload": {"of": hide("ping")}},
        {"type": hide("type of a message")},
        {"type": "subscribe", "id": "1", "payload": hide("payload")},
        {"type": "subscribe", "id": "x" * 65 + hide("id that is too long"), "payload": {"query": "subscription"}},
        hide("no JSON over WebSocket"),
    ):
        await said(address, [message], welcome=welcome, name=name)
    await said(address, [], welcome=welcome | {"payload": {"authorization": hide("Bearer")}}, name=name)
    await said(address, [], welcome=welcome | {"payload": {hide("init"): hide("value of init")}}, name=name)
    for head in (
        {"Origin": f"https://{hide('Origin of a WebSocket')}.example"},
        {"User-Agent": hide("User-Agent of a WebSocket")},
        {"baggage": hide("baggage of a WebSocket"), "traceparent": hide("traceparent of a WebSocket")},
        {"Sec-WebSocket-Protocol": hide("subprotocol")},
        {"X-Request-Id": f"no id, but a text {hide('X-Request-Id of a WebSocket')}"},
    ):
        await said(address, [], welcome=welcome, name=name, head=head)


def payloads(hide: Hide) -> Iterator[dict[str, Any]]:
    named = hide("operation name over WebSocket")
    yield {"query": STOCK.replace("subscription", f"subscription {named}"), "operationName": named}
    yield {"query": STOCK, "operationName": hide("operation name that is not there, over WebSocket")}
    yield {"query": STOCK, "variables": {"skus": [hide("variable over WebSocket")]}}
    yield {"query": STOCK, "variables": {"skus": [], "since": hide("cursor over WebSocket")}}
    yield {"query": STOCK, "variables": {hide("name of a variable over WebSocket"): 1}}
    yield {"query": f'subscription {{ orderChanged(orderId: "{hide("literal over WebSocket")}") {{ cursor }} }}'}
    yield {"query": f"subscription {{ {hide('field over WebSocket')} }}"}
    yield {"query": f'subscription {{ {hide("alias over WebSocket")}: events(types: ["none"]) {{ type }} }}'}
    yield {"query": f'subscription {{ events(types: ["{hide("type of event")}"]) {{ type }} }}'}
    yield {"query": f"query {hide('query over WebSocket')} {{ views {{ name }} }}"}
    yield {"query": f'mutation {{ shipOrder(orderId: "{hide("mutation over WebSocket")}") {{ ok }} }}'}
    yield {"query": f"subscription {{ {hide('broken over WebSocket')}"}
    named = {"version": 1, "sha256Hash": hide("digest over WebSocket")}
    yield {"query": STOCK, "extensions": {"persistedQuery": named}}


async def said(
    address: str, messages: list[Any], *, welcome: dict[str, Any], name: str, head: dict[str, str] | None = None
) -> None:
    """Connects, says all of it, and hears what is answered until nothing comes for a moment."""
    subprotocols = [] if head and "Sec-WebSocket-Protocol" in head else ["graphql-transport-ws"]
    heads = {"X-Request-Id": name} | (head or {})
    try:
        async with connect(address, subprotocols=subprotocols or None, additional_headers=heads, proxy=None) as ws:  # type: ignore[arg-type]
            for message in (welcome, *messages):
                await ws.send(message if isinstance(message, str) else json.dumps(message))
            while True:
                await asyncio.wait_for(ws.recv(), SILENT_S)
    except (ConnectionClosed, InvalidStatus, TimeoutError):
        return


# --- the payment provider


async def plant_as_provider(hide: Hide, show: Show, stack: Stack, http: aiohttp.ClientSession, payment_id: str) -> None:
    """Events with a good signature, of a known payment, of another and of none; two without one, for they are counted
    as guesses."""
    secret = stack.settings.stripe_webhook_secret.get_secret_value()
    url = stack.status["http_url"] + PROVIDER
    for kind in ("payment_intent.payment_failed", "payment_intent.succeeded", "charge.refunded", show()):
        for paid in (payment_id, str(uuid.uuid4()), hide("payment_id of the provider's event")):
            event = {"id": show(), "type": kind, "data": {"object": told_of(hide, show, paid)}, hide("field"): 1}
            for body in (json.dumps(event), json.dumps(event | {"data": hide("data of no shape")}), hide("no event")):
                moment = str(int(time.time()))
                signed = hmac.new(secret.encode(), f"{moment}.{body}".encode(), hashlib.sha256).hexdigest()
                head = {"Stripe-Signature": f"t={moment},v1={signed}", "User-Agent": hide("User-Agent of the provider")}
                async with http.post(url, data=body.encode(), headers=head) as answer:
                    assert answer.status in (200, 400, 422, 503), await answer.text()
    for body in (json.dumps({"id": hide("unsigned event")}), hide("unsigned and no event")):
        head = {"Stripe-Signature": f"t={int(time.time())},v1={hide('signature')}"}
        async with http.post(url, data=body.encode(), headers=head) as answer:
            assert answer.status == 400, await answer.text()


def told_of(hide: Hide, show: Show, payment_id: str) -> dict[str, Any]:
    """A payment intent, with what the provider knows of the person who pays."""
    return {
        "id": show(),
        "object": "payment_intent",
        "amount": 255,
        "amount_received": 255,
        "amount_refunded": 255,
        "captured": True,
        "currency": "gbp",
        "metadata": {"payment_id": payment_id, hide("name in the provider's metadata"): hide("provider's metadata")},
        "cancellation_reason": hide("cancellation_reason"),
        "last_payment_error": {"code": "card_declined", "message": hide("last_payment_error")},
        "description": hide("description at the provider"),
        "receipt_email": f"{hide('receipt_email')}@person.example",
        "billing_details": {"name": hide("billing name"), "address": {"line1": hide("billing address")}},
    }
