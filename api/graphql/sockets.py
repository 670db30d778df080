"""GraphQL over WebSocket: `graphql-transport-ws`, and only subscriptions.

Who connects says who it is in `connection_init` (`authorization`, as in the header) or in the header, and is served
until the access token expires or becomes void; then the connection is closed with 4403, and the client comes back with
a new one. Before each item is sent it is asked whether the token is still good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import structlog
from graphql import ExecutionResult, GraphQLError
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError
from strawberry.extensions import SchemaExtension
from strawberry.fastapi import GraphQLRouter
from strawberry.http import exceptions
from strawberry.schema import BaseSchema
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UNSET

from adapters.metrics import SOCKETS
from adapters.security_log import asked_from, tell
from adapters.void_tokens import Claims, TokensUnchecked
from api.client_address import counted_networks
from api.graphql.allowance import Allowance
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.gate import Gate
from api.graphql.limits import REFUSED, charged
from api.security import caller_of
from commands.handling import Actor
from commands.security_events import SecurityEvent
from domain.errors import Invalid, Unauthenticated

log = structlog.get_logger()
# The library writes the `Origin` that it refuses as the client wrote it, a line for each handshake; the answer is 403.
logging.getLogger("strawberry.ws").disabled = True

MESSAGE_BYTES_MAX: Final = 65_536
ID_LENGTH_MAX: Final = 64
FORBIDDEN: Final = 4403  # clients of the protocol come back after it, which they do not after 4401
# At most 123 bytes each, as the protocol has it.
EXPIRED: Final = "The access token has expired: connect with a new one, and go on by since"
VOID: Final = "The rights of the access token were taken away: refresh it and connect again, or sign in"
CHECK_S_MAX: Final = 60.0  # an item waits as long for the list of void tokens; a restart of the database takes less
# For uvicorn. Compression would keep a quarter of a megabyte for every connection; a client that answers no ping and
# reads nothing is gone after 40 s.
SERVING: Final[Mapping[str, Any]] = {
    "ws": "websockets-sansio",
    "ws_max_size": MESSAGE_BYTES_MAX,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """`connections_max` are those of one process, `per_address_max` those of one address to it, `subscriptions_max`
    those of one connection. Pages of no other origin than their own and `allowed_origins` may connect."""

    connections_max: int = 2_000
    per_address_max: int = 100
    subscriptions_max: int = 20
    init_wait_s: float = 10.0
    allowed_origins: tuple[str, ...] = ()


class TextSocket(ASGIWebSocketAdapter):
    """Sends text frames, as the protocol has it, and knows both ways in which a client can be gone."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Raises exceptions.WebSocketDisconnected."""
        try:
            await self.ws.send_text(cast("bytes", self.view.encode_json(message)).decode())
        except (WebSocketDisconnect, WebSocketDisconnected) as error:
            raise exceptions.WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        """Once; again it does nothing."""
        try:
            await self.ws.close(code=code, reason=reason)
        except (WebSocketDisconnect, WebSocketDisconnected):
            return


class SubscriptionHandler(BaseGraphQLTransportWSHandler[RequestContext, None]):
    """One connection. It ends what it started, however it ends itself."""

    _expiry: asyncio.Task[None] | None = None

    async def handle_message(self, message: Message) -> None:
        """Closes the connection, with 4400, at what is not a message of the protocol."""
        if is_message(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("This is no message of graphql-transport-ws")

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Closes the connection, with 4403, unless the token is good; and again when it is not any more."""
        await super().handle_connection_init(message)
        claims = self.context.claims
        if self.connection_acknowledged and claims is not None and self._expiry is None:
            self._expiry = asyncio.create_task(self._close_after(claims), name="socket-expiry")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Follows the document that the message means, which it may only name."""
        payload: Any = message["payload"]
        if self.connection_acknowledged:
            try:
                payload["query"] = self.context.gate.document(payload.get("query"), payload.get("extensions"))
            except GraphQLError as refused:
                await self._refuse(message["id"], refused)
                return
        await super().handle_subscribe(message)

    async def _refuse(self, operation_id: str, refused: GraphQLError) -> None:
        """As over HTTP, a refusal takes a point."""
        if self.context.allowance is not None:
            await charged(self.context.allowance, 0, REFUSED)
        told = [error.formatted for error in public([refused], self.context.gate)]
        await self.send_message({"id": operation_id, "type": "error", "payload": told})

    async def shutdown(self) -> None:
        """Ends every subscription and waits for that."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        await super().shutdown()

    async def handle_task_exception(self, error: Exception) -> None:
        """What a subscription can end with is told to its client; this is what remains."""
        if not isinstance(error, exceptions.WebSocketDisconnected):
            log.error("subscription_failed", exc_info=error)

    async def _close_after(self, claims: Claims) -> None:
        """Close the connection when its token expires or becomes void."""
        reason = EXPIRED
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, claims.expires_at - time.time())):
                await self.context.kontor.void_tokens.until_void(claims)
                reason = VOID
        for operation_id in list(self.operations):
            await self.cleanup_operation(operation_id)
        await self.websocket.close(FORBIDDEN, reason)


class SocketRouter(GraphQLRouter[RequestContext, None]):
    """GraphQL over HTTP, and subscriptions over WebSocket within the limits."""

    websocket_adapter_class = TextSocket
    graphql_transport_ws_handler_class = SubscriptionHandler

    def __init__(self, schema: BaseSchema, *, limits: SocketLimits, **more: Any) -> None:
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=limits.init_wait_s),
            max_subscriptions_per_connection=limits.subscriptions_max,
            allowed_origins=limits.allowed_origins,
            **more,
        )
        self._limits = limits
        self._connections: Counter[str] = Counter()  # by address, and by the network around it
        self._open = 0

    async def run(self, request: Any, context: Any = UNSET, root_value: Any = UNSET) -> Any:
        """Answers 429 to a connection above what its address may have, 503 to one above the limit."""
        if not self.is_websocket_request(request):
            return await super().run(request, context, root_value)
        address: str = context.address
        if (refused := self._refusal(address, context.actor)) is not None:
            await request.send_denial_response(refused)
            return request
        networks = [network for network, _ in counted_networks(address)]
        self._connections.update(networks)
        self._open += 1
        try:
            with SOCKETS.track_inprogress():
                return await super().run(request, context, root_value)
        finally:
            self._open -= 1
            self._connections.subtract(networks)
            self._connections = +self._connections  # none that has gone is remembered

    def _refusal(self, address: str, actor: Actor) -> PlainTextResponse | None:
        """The answer to one connection too many."""
        limits, open_now = self._limits, self._connections
        if any(open_now[network] >= times * limits.per_address_max for network, times in counted_networks(address)):
            status, whose = 429, "the address"
            told = f"Your address has {limits.per_address_max} connections already; close some."
        elif self._open >= limits.connections_max:
            status, whose = 503, "the process"
            told = f"There are {limits.connections_max} connections already; try again later."
        else:
            return None
        tell(SecurityEvent.SOCKETS_LIMITED, who=actor.name, what=f"sockets of {whose}", outcome="refused",
             of_address=open_now[address], of_process=self._open)  # fmt: skip
        return PlainTextResponse(told, status_code=status, headers={"retry-after": "5"})

    async def on_ws_connect(self, context: RequestContext) -> Any:
        """Raises ConnectionRejectionError, which closes the connection with 4403, for a token that is not good."""
        kontor, payload = context.kontor, context.connection_params or {}
        assert context.request is not None
        authorization = payload.get("authorization", payload.get("Authorization"))
        if authorization is None:
            authorization = context.request.headers.get("authorization")
        try:
            if not isinstance(authorization, str | None):
                raise Unauthenticated("authorization is no text.")
            asked_from(context.address)
            context.actor, context.session_id, context.claims = await caller_of(authorization, kontor)
            asked_from(context.address, context.session_id)
            context.allowance = Allowance.of(kontor, context.actor, context.address)
        except (Unauthenticated, TokensUnchecked) as error:
            raise ConnectionRejectionError from error
        # What else the handshake's headers asked for is about one request, which this is not.
        context.refusal, context.freshness = None, Freshness(kontor.positions, kontor.reads)
        context.allowance = Allowance.of(kontor, context.actor, context.address)
        context.over_socket = True
        return UNSET


class OverSocket(SchemaExtension):
    """Subscriptions over WebSocket, the rest over HTTP."""

    def on_execute(self) -> Iterator[None]:
        """Raises Invalid for an operation that came the wrong way."""
        context: RequestContext = self.execution_context.context
        followed = self.execution_context.operation_type is OperationType.SUBSCRIPTION
        if followed and not context.over_socket:
            raise Invalid("Subscriptions are served over WebSocket, with the subprotocol graphql-transport-ws.")
        if context.over_socket and not followed:
            raise Invalid("Over WebSocket only subscriptions are served; send queries and mutations by POST.")
        yield


async def told(results: AsyncGenerator[Any, None], context: RequestContext) -> AsyncGenerator[Any, None]:
    """The results of an operation with what of their errors may be told; what an extension raised is one of them. The
    last one says so when the token of the connection is no longer good."""
    try:
        async with aclosing(results):
            async for result in results:
                if (refused := await _refused(context)) is not None:
                    yield ExecutionResult(data=None, errors=public([refused], context.gate))
                    return
                if result.errors:
                    result.errors = public(result.errors, context.gate)
                yield result
    except GraphQLError as error:
        yield PreExecutionError(data=None, errors=public([error], context.gate))


async def _refused(context: RequestContext) -> GraphQLError | None:
    """Why the connection is served no longer; None while its token is good. While that is not known, it is waited for,
    CHECK_S_MAX at most."""
    claims, kontor = context.claims, context.kontor
    if claims is None:
        return None
    give_up_at = time.monotonic() + CHECK_S_MAX
    while True:
        try:
            await kontor.void_tokens.heard()
            kontor.access_tokens.require_good(claims)
        except (Unauthenticated, TokensUnchecked) as error:
            if isinstance(error, TokensUnchecked) and time.monotonic() < give_up_at:
                continue
            return GraphQLError(str(error), original_error=error)
        return None


def public(errors: list[GraphQLError], gate: Gate) -> list[GraphQLError]:
    """The errors with what of them may be told."""
    return [
        GraphQLError(told["message"], nodes=error.nodes, path=error.path, extensions=told["extensions"])
        for error, told in zip(errors, gate.told(errors), strict=True)
    ]


def is_message(message: object) -> bool:
    """Has it the shape that the protocol gives a client's message? What it means is not judged."""
    if not isinstance(message, dict) or message.get("type") not in _TYPES:
        return False
    kind, payload, operation_id = message["type"], message.get("payload"), message.get("id")
    if kind in ("subscribe", "complete") and not (
        isinstance(operation_id, str) and 1 <= len(operation_id) <= ID_LENGTH_MAX
    ):
        return False
    return kind != "subscribe" or bool(
        isinstance(payload, dict)
        and isinstance(payload.get("extensions"), dict | None)
        and (isinstance(payload.get("query"), str) or (payload.get("extensions") and payload.get("query") is None))
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )


_TYPES: Final = frozenset({"connection_init", "ping", "pong", "subscribe", "complete"})
