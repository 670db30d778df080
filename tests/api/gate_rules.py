"""The rules of the gate, as a matrix: what breaks each over each transport, with which code it is refused there, or why
there is nothing to refuse.

The past, histories and subscriptions are fields: a document that asks for them is judged as any other. What of a
product shows there is in `tests.api.test_gate`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.sql import SQL
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from adapters.wiring import Kontor
from api.body_limit import BODY_BYTES_MAX
from api.graphql.sockets import MESSAGE_BYTES_MAX
from api.rest.commands import PATH as COMMANDS
from projections.catalogue import CATALOGUE
from projections.categories import CATEGORIES
from tests.api.served import Served

TRANSPORTS: Final = ("compiled", "ordinary", "websocket", "rest")
PAGE: Final = "{{ products(first: {}) {{ nodes {{ id }} }} }}"
RESET: Final = ("POST", "request-password-reset", json.dumps({"email": "a@example.com"}))
NO_DOCUMENTS: Final = "REST takes no documents: its commands are those that are listed"
REGISTER: Final = (
    "POST", "register-user", json.dumps({"email": "a@example.com", "name": "Ada", "password": "slow horse battery"})
)  # fmt: skip
NO_END: Final = "a subscription is followed for as long as it is paid for, and waits for a database that is away"
NO_CONNECTION: Final = "a request has its own head and body, whose times are limited: tests/api/test_http_attacks.py"
SILENCE: Final = ""  # over WebSocket: nothing is said, not even connection_init


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`sent` breaks it: a query that is compiled, one that Strawberry answers (`categories`), a subscription, and a
    method, path and body over REST. `refused` are the codes, over WebSocket also those with which it is closed."""

    sent: Mapping[str, Any]
    refused: Mapping[str, str]
    why_not: Mapping[str, str] = field(default_factory=dict)
    word: str = ""
    token: str | None = None


def of_documents(compiled: str, ordinary: str, subscription: str, code: str, word: str = "") -> Rule:
    sent = {"compiled": compiled, "ordinary": ordinary, "websocket": subscription}
    return Rule(sent=sent, refused=dict.fromkeys(sent, code), why_not={"rest": NO_DOCUMENTS}, word=word)


def of_all(compiled: str, ordinary: str, subscription: str, rest: tuple[str, str, str], code: str, **more: Any) -> Rule:
    sent = {"compiled": compiled, "ordinary": ordinary, "websocket": subscription, "rest": rest}
    return Rule(sent=sent, refused=dict.fromkeys(sent, code) | more.pop("other", {}), **more)


TICK: Final = "subscription { stockChanged { cursor } }"
ASKED: Final = "__schema { types { name } }"
RULES: Final[Mapping[str, Rule]] = {
    "persisted only": of_documents(
        "{ me { name } }", "{ categories { id } }", "subscription { events { type } }", "PERSISTED_QUERY_ONLY"
    ),
    "suggestions": of_documents(
        "{ prodct { id } }", "{ categoris { id } }", "subscription { stockChange { cursor } }", "BAD_REQUEST"
    ),
    "depth": of_all(
        "{ a " * 100,
        "{ categories " * 100,
        "subscription { a " * 100,
        ("POST", "request-password-reset", "[" * 100_000),
        "BAD_REQUEST",
    ),
    "cost": of_all(
        PAGE.format(20),
        "{ categories { id } products(first: 20) { nodes { id } } }",
        'subscription { orderChanged(orderId: "x") { order { history(first: 20) { type } } } }',
        RESET,
        "COST_LIMIT_EXCEEDED",
    ),
    "introspection": of_documents(
        f"{{ me {{ id }} {ASKED} }}",
        f"{{ categories {{ id }} {ASKED} }}",
        f"subscription {{ {ASKED} }}",
        "BAD_REQUEST",
        "Introspection is switched off",
    ),
    # What introspection is to documents: for operators alone.
    "schemas of commands": Rule(
        sent={"rest": ("GET", "place-order", "")},
        refused={"rest": "NOT_FOUND"},
        why_not=dict.fromkeys(("compiled", "ordinary", "websocket"), "GraphQL tells its schema by introspection"),
    ),
    "time": Rule(
        sent={"compiled": PAGE.format(1), "ordinary": "{ categories { id } }", "rest": REGISTER},
        refused=dict.fromkeys(("compiled", "ordinary", "rest"), "TIMEOUT"),
        why_not={"websocket": NO_END},
        word="longer than 1 s",
    ),
    "size": of_all(
        "{ me { id } }" + " " * BODY_BYTES_MAX,
        "{ categories { id } }" + " " * BODY_BYTES_MAX,
        TICK + " " * MESSAGE_BYTES_MAX,
        ("POST", "request-password-reset", json.dumps({"email": "a" * BODY_BYTES_MAX})),
        "TOO_LARGE",
        other={"websocket": "1009"},
    ),
    "identity": of_all(
        "{ me { id } }",
        "{ categories { id } }",
        TICK,
        RESET,
        "UNAUTHENTICATED",
        other={"websocket": "4403"},
        token="no-token-of-ours",
    ),
    "connection_init in time": Rule(
        sent={"websocket": SILENCE},
        refused={"websocket": "4408"},
        why_not=dict.fromkeys(("compiled", "ordinary", "rest"), NO_CONNECTION),
    ),
}


async def over_http(running: Served, document: str, token: str) -> tuple[str, str]:
    """The code and the message; a refusal before GraphQL has `errors`, too."""
    _, _, told = await running.post("/graphql", json.dumps({"query": document}), {"Authorization": f"Bearer {token}"})
    error = told["errors"][0]
    return error["extensions"]["code"], error["message"]


async def over_websocket(running: Served, document: str, token: str) -> tuple[str, str]:
    """The token is said in `connection_init`. The code and reason of the close where the connection is closed."""
    async with connect(
        f"ws://127.0.0.1:{running.port}/graphql", subprotocols=["graphql-transport-ws"], proxy=None, open_timeout=60
    ) as ws:  # type: ignore[var-annotated]
        try:
            async with asyncio.timeout(20):
                return await _refusal(ws, document, token)
        except ConnectionClosed as closed:
            return str(ws.close_code), str(closed)


async def _refusal(ws: ClientConnection, document: str, token: str) -> tuple[str, str]:
    if document != SILENCE:
        for message in (
            {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}},
            {"type": "subscribe", "id": "1", "payload": {"query": document}},
        ):
            await ws.send(json.dumps(message))
    told = json.loads(await ws.recv())
    while told["type"] == "connection_ack":
        told = json.loads(await ws.recv())
    payload = told["payload"]
    (error,) = (payload if isinstance(payload, list) else payload["errors"])[:1]
    return error["extensions"]["code"], error["message"]


async def over_rest(running: Served, asked: tuple[str, str, str], token: str) -> tuple[str, str]:
    method, name, body = asked
    told: dict[str, str] = {}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    for _ in range(5):  # on a busy machine some points may have come back
        url = f"{running.url}{COMMANDS}/{name}"
        async with running.http.request(method, url, data=body, headers=headers) as answer:
            told = await answer.json(content_type=None)
        if "code" in told:
            break
    return told["code"], told["detail"]


OVER: Final[dict[str, Callable[..., Any]]] = {
    "compiled": over_http,
    "ordinary": over_http,
    "websocket": over_websocket,
    "rest": over_rest,
}


@asynccontextmanager
async def standing_still(kontor: Kontor) -> AsyncIterator[None]:
    """Two views cannot be read meanwhile, and no command can be stored: whatever needs that waits."""
    tables = [SQL("commands"), *(kontor.reads.table(view) for view in (CATALOGUE, CATEGORIES))]
    async with kontor.pool.connection() as connection, connection.transaction():
        await connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(SQL(", ").join(tables)))
        yield
