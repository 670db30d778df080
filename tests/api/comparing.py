"""One question asked of both paths, and their answers as bytes."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from adapters.wiring import Kontor
from api.graphql.compiled.answering import answer
from api.graphql.consistency import Freshness
from api.graphql.context import RequestContext
from api.graphql.gate import OPEN
from api.graphql.schema import schema
from api.graphql.serving import KontorRouter
from api.graphql.sockets import SocketLimits
from commands.handling import Actor
from tests.api.made_documents import Made

ROUTER = KontorRouter(schema, limits=SocketLimits(), path="/graphql", allow_queries_via_get=False)
TRIES_MAX = 20
# How long was waited is a matter of the moment.
_WAITED = re.compile(rb'"waitedMs":\d+')


def context_of(kontor: Kontor, actor: Actor, token: str | None = None, *, fresh_only: bool = False) -> RequestContext:
    """A request's; it waits for nothing."""
    freshness = Freshness(kontor.positions, kontor.reads, wait_ms=0, fresh_only=fresh_only)
    freshness.require(token)
    return RequestContext(kontor, actor=actor, freshness=freshness)


async def sent(result: Any) -> bytes:
    """The answer as it would be sent."""
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(gate=OPEN)))
    body = ROUTER.encode_json(await ROUTER.process_result(request, result))
    assert isinstance(body, bytes)
    return _WAITED.sub(b'"waitedMs":0', body)


async def ordinary(context: RequestContext, made: Made) -> bytes:
    """What Strawberry answers."""
    result = await schema.execute(
        made.text, variable_values=made.variables, operation_name=made.operation, context_value=context
    )
    return await sent(result)


async def compiled(context: RequestContext, made: Made) -> bytes | None:
    """What the compiled path answers; None when it leaves that to Strawberry."""
    result = await answer(schema, context, made.text, made.variables, made.operation)
    return None if result is None else await sent(result)


async def falls_back(context: RequestContext, made: Made) -> tuple[bytes, bool]:
    """What is served, and whether the compiled path did it: what it leaves is asked again in the same context."""
    body = await compiled(context, made)
    return (await ordinary(context, made), False) if body is None else (body, True)


async def alike(kontor: Kontor, actor: Actor, made: Made, *, fresh_only: bool) -> bool:
    """True when the compiled path answered. Raises AssertionError when Strawberry answers otherwise.

    Of several roots that refuse Strawberry tells the one that was first, which differs from time to time: what was left
    to it has to be one of its answers."""
    served, was_compiled = await falls_back(context_of(kontor, actor, fresh_only=fresh_only), made)
    answers = set()
    for _ in range(1 if was_compiled else TRIES_MAX):
        answers.add(await ordinary(context_of(kontor, actor, fresh_only=fresh_only), made))
        if served in answers:
            return was_compiled
    raise AssertionError(f"{actor.name}, compiled: {was_compiled}\n{made}\nserved {served!r}\nordinary {answers}")
