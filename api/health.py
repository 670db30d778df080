"""Is the process alive, and may it be sent work? Both answers are for machines and need no account."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from psycopg import Error as PostgresError
from psycopg_pool import PoolTimeout, TooManyRequests
from redis.exceptions import RedisError

from adapters.wiring import Kontor
from api.view_lag import view_lags

log = structlog.get_logger()

ANSWER_S_MAX: Final = 3.0

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process runs")
async def live() -> dict[str, str]:
    """The event loop turns; says nothing about databases."""
    return {"status": "live"}


@router.get("/ready", summary="The process can serve")
async def ready(request: Request) -> JSONResponse:
    """200 while Postgres answers, else 503 with a sentence. Redis away and views behind are told, and are slow
    or stale reads, not a reason to send nobody here."""
    kontor: Kontor = request.app.state.kontor
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            lags = await view_lags(kontor.reads)
    except (PostgresError, PoolTimeout, TooManyRequests, OSError, TimeoutError) as error:
        log.warning("not_ready", error=repr(error))
        reason = f"PostgreSQL did not answer within {ANSWER_S_MAX:.0f} s; nothing can be read or stored."
        return JSONResponse({"status": "unavailable", "reason": reason}, status_code=503)
    views = {lag.name: {"lagEvents": lag.events, "lagSeconds": round(lag.seconds, 3)} for lag in lags}
    body: dict[str, Any] = {"status": "ready", "postgres": "up", "redis": await _redis(kontor), "views": views}
    return JSONResponse(body)


async def _redis(kontor: Kontor) -> str:
    try:
        async with asyncio.timeout(1.0):
            await kontor.redis.ping()
    except (RedisError, OSError, TimeoutError):
        return "away"
    return "up"
