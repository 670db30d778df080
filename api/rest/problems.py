"""Refusals over HTTP as problem+json (RFC 9457), with the same codes as GraphQL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from adapters.event_codec import WrittenByNewerCode
from adapters.group_commit import StoreUnavailable
from adapters.strict_json import NotStrictJson
from adapters.void_tokens import TokensUnchecked
from api.graphql.limits import TimeLimitExceeded
from commands.ports import Overloaded
from domain.errors import DomainError, Forbidden, RateLimited, Unauthenticated

log = structlog.get_logger()

RETRY_AFTER_S: Final = 1
_STATUS: Final = {
    "NOT_FOUND": 404,
    "BAD_CREDENTIALS": 401,
    "REAUTHENTICATION_REQUIRED": 401,
    "MFA_REQUIRED": 401,
    "MFA_INVALID": 401,
    "TOKEN_REUSED": 401,
    "ACCOUNT_SUSPENDED": 403,
    "CONFLICT": 409,
    "ALREADY_EXISTS": 409,
    "INSUFFICIENT_STOCK": 409,
    "ILLEGAL_TRANSITION": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "IDEMPOTENCY_PREVIOUS_FAILED": 409,
    "RATE_LIMITED": 429,
}
_TELL_WHY: Final = (Overloaded, StoreUnavailable, TokensUnchecked, WrittenByNewerCode)
_UNAVAILABLE: Final = (*_TELL_WHY, OperationalError, PoolTimeout, TooManyRequests)


class CostLimitReached(Exception):
    """The actor has spent its points; nothing was done."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Problem(BaseModel):
    """Why something was refused (RFC 9457)."""

    type: str = Field(description="Always about:blank: `code` says which problem it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="For programs; the same as in GraphQL.", examples=["ILLEGAL_TRANSITION"])
    detail: str = Field(description="For people: what is wrong and what to do.")
    field: list[str] | None = Field(None, description="The input it speaks of, outermost name first.")


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": told, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for status, told in {
        401: "The access token is missing, wrong or expired, or the credentials are.",
        403: "The actor may not do this.",
        404: "What the input names does not exist, or is not the actor's.",
        409: "The state does not allow it, or somebody was faster.",
        413: "The body is too large.",
        422: "The input is not valid, or the idempotency key was used for other content.",
        429: "Tried too often, or too many points spent; `Retry-After` says when to come again, in seconds.",
        503: "Busy or away; send it again with the same idempotency key.",
    }.items()
}


def problem(status: int, code: str, detail: str, *, retry_after_s: float = RETRY_AFTER_S, **more: Any) -> JSONResponse:
    """One refusal. `code` is for programs, `detail` for people."""
    headers = {"Retry-After": str(math.ceil(retry_after_s))} if status in (429, 503) else None
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return JSONResponse(body, status_code=status, headers=headers, media_type="application/problem+json")


def not_json(reason: str) -> JSONResponse:
    """A body that `adapters.strict_json` refuses, the same at every door; GraphQL's clients look for `errors`."""
    return problem(400, "BAD_REQUEST", reason, errors=[{"message": reason, "extensions": {"code": "BAD_REQUEST"}}])


def invalid_fields(errors: Sequence[Any]) -> JSONResponse:
    """Input that is not what the schema says; the values are not repeated, they may be secrets."""
    fields = [
        {"field": [str(part) for part in each["loc"] if part != "body"], "message": str(each["msg"])} for each in errors
    ]
    told = "; ".join(f"{'.'.join(each['field']) or 'body'}: {each['message']}" for each in fields[:5])
    return problem(422, "INVALID", told, errors=fields[:100])


def install(app: FastAPI) -> None:
    """Have the application answer every refusal of the REST routes this way."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, DomainError)
        wait_s = error.retry_after_s if isinstance(error, RateLimited) else RETRY_AFTER_S
        status, field = _STATUS.get(error.code, 422), list(error.field) or None
        return problem(status, error.code, error.message, retry_after_s=wait_s, field=field)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return invalid_fields(error.errors())

    async def no_json(_: Request, error: Exception) -> JSONResponse:
        return not_json(str(error))

    async def unauthenticated(_: Request, error: Exception) -> JSONResponse:
        answer = problem(401, "UNAUTHENTICATED", str(error))
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    async def forbidden(_: Request, error: Exception) -> JSONResponse:
        return problem(403, "FORBIDDEN", str(error))

    async def spent(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CostLimitReached)
        return problem(429, "COST_LIMIT_EXCEEDED", str(error), retry_after_s=error.retry_after_s)

    async def given_up(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, TimeLimitExceeded)
        return problem(503, "TIMEOUT", error.message)

    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        log.warning("unavailable", error=repr(error))
        told = str(error) if isinstance(error, _TELL_WHY) else "The database is busy or away."
        return problem(503, "UNAVAILABLE", f"{told.rstrip('.')}. Try again in a moment, with the same idempotency key.")

    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        error_id = str(uuid4())
        log.error("internal_error", error_id=error_id, exc_info=error)
        return problem(500, "INTERNAL", f"internal error, id {error_id}")

    async def by_the_framework(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, NotStrictJson):
            return not_json(str(error.__cause__))
        return problem(error.status_code, HTTPStatus(error.status_code).name, str(error.detail))

    app.add_exception_handler(HTTPException, by_the_framework)
    app.add_exception_handler(DomainError, refused)
    app.add_exception_handler(NotStrictJson, no_json)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(Unauthenticated, unauthenticated)
    app.add_exception_handler(Forbidden, forbidden)
    app.add_exception_handler(CostLimitReached, spent)
    app.add_exception_handler(TimeLimitExceeded, given_up)
    for kind in _UNAVAILABLE:
        app.add_exception_handler(kind, unavailable)
    app.add_exception_handler(Exception, unexpected)
