"""The HTTP application: GraphQL, commands, health. Made by a factory, so that every test and process has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from adapters.wiring import Kontor
from api import documentation, health, jwks, metrics
from api.answer_headers import REQUEST_ID, AnswerHeaders
from api.body_limit import BodyLimit
from api.browsers import FromOwnPages
from api.cached_answers import CachedAnswers, FirstLook
from api.doors import require_doors
from api.effect_gauges import EffectGauges
from api.graphql.context import request_context
from api.graphql.gate import Gate
from api.graphql.persisted import registered
from api.graphql.schema import schema
from api.graphql.serving import KontorRouter
from api.graphql.sockets import SocketLimits
from api.known_hosts import KnownHosts, refuse
from api.record_gauges import RecordGauges
from api.rest import commands as rest_commands
from api.rest import payments, problems
from api.view_gauges import ViewGauges

GRAPHQL_PATH: Final = "/graphql"
CORS_HEADERS: Final = (
    "authorization content-type idempotency-key if-none-match x-request-id"
    " kontor-consistent-with kontor-wait-ms kontor-require"
).split()


class Application(FastAPI):
    """FastAPI behind a first look at what is kept: its own way to a handler costs as much as such an answer."""

    first_look: FirstLook | None = None
    known_hosts: KnownHosts | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of HTTP, what is not answered already."""
        if self.known_hosts is not None and scope["type"] != "lifespan" and not self.known_hosts.allow(scope):
            await refuse(scope, send)
            return
        if scope["type"] == "http" and self.first_look is not None:
            rest = await self.first_look(scope, receive, send, self.state.kontor)
            if rest is None:
                return
            receive = rest
        await super().__call__(scope, receive, send)


def create_app(
    open_wiring: Callable[[], AbstractAsyncContextManager[Kontor]],
    *,
    environment: str,
    limits: SocketLimits = SocketLimits(),  # noqa: B008  # frozen
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """The application; it opens its wiring when it starts and closes it when it stops.

    `environment` other than `development` has no GraphiQL and no interactive documentation, and tells nothing of the
    schema. Pages of `limits.allowed_origins` may use it, and its own. In development, and where `hosts` are named, it
    answers only who asks for it by one of them or by a name of this machine."""
    development = environment == "development"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_wiring() as kontor:
            await kontor.void_token_reader.start()
            app.state.kontor = kontor
            settings = kontor.settings
            documents = registered(
                settings.persisted_documents,
                schema._schema,
                only=settings.persisted_only,
                cost_max=settings.cost_per_operation_max,
            )
            app.state.gate = Gate(documents=documents, only=settings.persisted_only, suggestions=development)
            app.state.view_gauges = ViewGauges(kontor.reads)
            app.state.effect_gauges = EffectGauges(kontor.effects, kontor.deliveries)
            app.state.record_gauges = RecordGauges(kontor.reads)
            yield

    app = Application(
        title="Kontor",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if development else None,
        redirect_slashes=False,  # a redirect repeats the Host header, which the client writes
    )
    app.state.draining = False  # set by whoever is about to end the process, see `api.health`
    app.state.development = development
    app.first_look = FirstLook(path=GRAPHQL_PATH, by_origin=bool(limits.allowed_origins))
    app.known_hosts = KnownHosts(hosts) if development or hosts else None
    _surround(app, limits)
    problems.install(app)
    graphql: KontorRouter = KontorRouter(
        schema,
        path=GRAPHQL_PATH,
        graphql_ide="graphiql" if development else None,
        allow_queries_via_get=False,
        context_getter=request_context,
        limits=limits,
        multipart_uploads_enabled=False,
    )
    app.add_route(GRAPHQL_PATH, graphql.posted, methods=["POST"], include_in_schema=False)
    app.include_router(graphql, include_in_schema=False)  # its schema is its own documentation
    app.include_router(rest_commands.router)
    app.include_router(payments.router)
    app.include_router(jwks.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    if development:
        documentation.install(app)
    require_doors(app.routes)
    return app


def _surround(app: FastAPI, limits: SocketLimits) -> None:
    """What sees a request before its handler does; the last is the first."""
    app.add_middleware(CachedAnswers, path=GRAPHQL_PATH)
    app.add_middleware(BodyLimit, paths=(GRAPHQL_PATH, rest_commands.PATH, payments.PATH))
    app.add_middleware(FromOwnPages, paths=(GRAPHQL_PATH, rest_commands.PATH), origins=limits.allowed_origins)
    if limits.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=limits.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=CORS_HEADERS,
            expose_headers=[REQUEST_ID, "etag", "idempotent-replayed", "retry-after"],
        )
    app.add_middleware(AnswerHeaders)
