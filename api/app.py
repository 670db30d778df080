"""The HTTP application: GraphQL, commands, health. Made by a factory, so that every test and process has its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import msgspec
from fastapi import FastAPI, Request
from strawberry.fastapi import GraphQLRouter
from strawberry.http import GraphQLHTTPResponse
from strawberry.types import ExecutionResult

from adapters.wiring import Kontor
from api import health, metrics
from api.body_limit import BodyLimit
from api.graphql.context import RequestContext, request_context
from api.graphql.errors import formatted
from api.graphql.schema import schema
from api.rest import commands as rest_commands
from api.rest import problems

GRAPHQL_PATH: Final = "/graphql"


class KontorRouter(GraphQLRouter[RequestContext, None]):
    """GraphQL over POST, with our errors and a strict JSON reader."""

    async def process_result(
        self,
        request: Request,  # noqa: ARG002  # the router passes it
        result: ExecutionResult,
    ) -> GraphQLHTTPResponse:
        """The answer; see `api.graphql.errors` for what of an error is told."""
        answer: GraphQLHTTPResponse = {"data": result.data}
        if result.errors:
            answer["errors"] = formatted(result.errors)
        if result.extensions:
            answer["extensions"] = result.extensions
        return answer

    def decode_json(self, data: str | bytes) -> object:
        """Refuses what is not JSON, and half surrogate pairs, which nothing behind could store."""
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            # What the library turns into a 400.
            raise json.JSONDecodeError(str(error), "", 0) from None

    def encode_json(self, data: object) -> str | bytes:
        """As bytes, many times faster than the standard library."""
        return msgspec.json.encode(data)


def create_app(open_wiring: Callable[[], AbstractAsyncContextManager[Kontor]], *, environment: str) -> FastAPI:
    """The application; it opens its wiring when it starts and closes it when it stops.

    `environment` other than `development` has no GraphiQL and no interactive documentation."""
    development = environment == "development"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_wiring() as kontor:
            app.state.kontor = kontor
            yield

    app = FastAPI(
        title="Kontor",
        lifespan=lifespan,
        docs_url="/docs" if development else None,
        redoc_url=None,
        openapi_url="/openapi.json" if development else None,
    )
    app.add_middleware(BodyLimit, paths=(GRAPHQL_PATH, rest_commands.PATH))
    problems.install(app)
    graphql: KontorRouter = KontorRouter(
        schema,
        path=GRAPHQL_PATH,
        graphql_ide="graphiql" if development else None,
        allow_queries_via_get=False,
        context_getter=request_context,
        subscription_protocols=(),
        multipart_uploads_enabled=False,
    )
    app.include_router(graphql)
    app.include_router(rest_commands.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    return app
