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
from api.internal_port import is_internal
from api.view_lag import view_lags

log = structlog.get_logger()

ANSWER_S_MAX: Final = 3.0
BESIDE_S_MAX: Final = 1.0  # what reads can do without is not waited for as long

Seen = tuple[dict[str, Any] | None, bool, bool]  # the views' lags, Redis, Kafka

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process runs")
async def healthz() -> dict[str, str]:
    """The event loop turns; says nothing about databases."""
    return {"status": "live"}


@router.get("/readyz", summary="The process can serve")
async def readyz(request: Request) -> JSONResponse:
    """200 while PostgreSQL answers and the process is not about to end, else 503 with a sentence. Redis or Kafka away
    and views behind are told, and are slow or stale reads, not a reason to send nobody here. In production what each
    server does is told on the internal port alone."""
    views, redis, kafka = await _seen_together(request.app)
    body: dict[str, Any] = {
        "status": "ready",
        "postgres": "away" if views is None else "up",
        "redis": "up" if redis else "away",
        "kafka": "up" if kafka else "away",
        "views": views,
    }
    if request.app.state.draining:
        reason = "This process ends when its requests are answered; send others elsewhere."
        body |= {"status": "draining", "reason": reason}
    elif views is None:
        reason = f"PostgreSQL did not answer within {ANSWER_S_MAX:.0f} s; nothing can be read or stored."
        body |= {"status": "unavailable", "reason": reason}
    told = body if is_internal(request) else {name: body[name] for name in ("status", "reason") if name in body}
    return JSONResponse(told, status_code=200 if body["status"] == "ready" else 503)


async def _seen_together(app: Any) -> Seen:
    """One look at a time, whose answer all get who ask meanwhile: anyone may ask, and each look asks every server."""
    looking: asyncio.Task[Seen] | None = getattr(app.state, "looking", None)
    if looking is None or looking.done():
        looking = asyncio.create_task(_looked(app.state.kontor), name="readiness")
        app.state.looking = looking
    return await asyncio.shield(looking)


async def _looked(kontor: Kontor) -> Seen:
    views, redis, kafka = await asyncio.gather(_views(kontor), _redis(kontor), _kafka(kontor))
    return views, redis, kafka


async def _views(kontor: Kontor) -> dict[str, Any] | None:
    """How far each view is behind; None while PostgreSQL is away."""
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            lags = await view_lags(kontor.reads)
    except (PostgresError, PoolTimeout, TooManyRequests, OSError, TimeoutError) as error:
        log.warning("not_ready", error=repr(error))
        return None
    return {lag.name: {"lagEvents": lag.events, "lagSeconds": round(lag.seconds, 3)} for lag in lags}


async def _redis(kontor: Kontor) -> bool:
    try:
        async with asyncio.timeout(BESIDE_S_MAX):
            await kontor.redis.ping()
    except (RedisError, OSError, TimeoutError):
        return False
    return True


async def _kafka(kontor: Kontor) -> bool:
    """Does a broker take connections? The API speaks to none; what does not get through shows in the views' lag."""
    try:
        async with asyncio.timeout(BESIDE_S_MAX):
            for broker in kontor.settings.kafka_url.split(","):
                host, _, port = broker.strip().rpartition(":")
                try:
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                except OSError:
                    continue
                writer.close()
                return True
    except (ValueError, TimeoutError):
        pass
    return False
