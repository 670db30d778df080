"""GraphQL over HTTP: POST alone, our errors, our editor, a strict JSON reader."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from cross_web import HTTPException
from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from starlette.status import HTTP_200_OK
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.types import ExecutionResult

from adapters.response_cache import Answer
from adapters.strict_json import NotStrictJson, decoded
from api.body_limit import BODY_BYTES_MAX
from api.graphql import editor
from api.graphql.compiled.answering import answer
from api.graphql.context import RequestContext, request_context
from api.graphql.gate import Gate
from api.graphql.schema import schema
from api.graphql.sockets import SocketRouter
from api.rest.problems import not_json


class NotJson(json.JSONDecodeError):
    """What the library takes for no JSON, with what is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "", 0)


class KontorRouter(SocketRouter):
    """Every operation that comes by POST passes `execute_single`; subscriptions come over WebSocket."""

    @property
    def graphql_ide_html(self) -> str:
        """The editor, in development; see `api.graphql.editor`."""
        return editor.page()

    async def posted(self, request: Request) -> Response:
        """A POST as the router takes it, without asking the framework anew, for every request, what it depends on."""
        context, response = await request_context(request), Response()
        del response.headers["content-length"]  # it lends its other headers to the answer
        context.request = request
        context.response = self.temporal_response = response
        try:
            answered: Response = await self.run(request=request, context=context, root_value=None)
        except HTTPException as error:
            if isinstance(error.__cause__, NotJson):
                return not_json(error.__cause__.msg)
            return PlainTextResponse(error.reason, status_code=error.status_code)
        if context.asked is not None and context.may_be_kept is not None and answered.status_code == HTTP_200_OK:
            made = Answer.of(bytes(answered.body), answered.headers["content-type"].encode())
            asked = context.asked
            if context.kontor.responses.keep(asked.key, made, context.may_be_kept, since=asked.since):
                answered.raw_headers += made.validators
        return answered

    async def execute_single(
        self,
        request: Request,
        request_adapter: Any,
        sub_response: Response,
        context: RequestContext,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        """Executes the document that the request means, which it may only name: by the compiled path where it can,
        else by Strawberry. Both ask the gate."""
        asked = request_data
        if request_adapter.method == "POST" and asked.protocol == "http":
            answered = await answer(
                schema, context, asked.query, asked.variables, asked.operation_name, asked.extensions
            )
            if answered is not None:
                return answered
        return await super().execute_single(request, request_adapter, sub_response, context, root_value, request_data)

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """The answer; see `api.graphql.errors` for what of an error is told."""
        answered: GraphQLHTTPResponse = {"data": result.data}
        if result.errors:
            gate: Gate = request.app.state.gate
            answered["errors"] = gate.told(result.errors)
        if result.extensions:
            answered["extensions"] = result.extensions
        return answered

    def decode_json(self, data: str | bytes) -> object:
        """The object. Raises NotJson for what `adapters.strict_json` refuses, and for an operation's name that is no
        text."""
        try:
            read = decoded(data, bytes_max=BODY_BYTES_MAX)
        except NotStrictJson as refused:
            raise NotJson(str(refused)) from None
        if not isinstance(read.get("operationName"), str | None):
            raise NotJson("operationName is not a text.")
        return read

    def encode_json(self, data: object) -> str | bytes:
        """As bytes, many times faster than the standard library."""
        return msgspec.json.encode(data)
