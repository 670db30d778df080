"""Versioned copies of view rows in Redis. Redis may lose anything at any time: a missing copy is read from Postgres
and put back, and an older copy never replaces a newer one.

What was lost cannot say that it was newer. So Redis has an incarnation, which is over when it was emptied, and when it
was started again with what its disk had: copies of an earlier one are neither taken nor read. Who copies rows knows the
incarnation from before they were read or committed: a newer row, then, is copied in the same incarnation or a later
one, where it is found or where the older is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.redis_answers import RedisAnswers
from projections.view import Row, View

R = TypeVar("R", bound=Row)

COPY_S: Final = 86_400
# A copy put back by a reader may be outdated by the time it arrives, and the newer one evicted: it lives shortly.
REFILL_S: Final = 60
TIMEOUT_S: Final = 0.5
CONNECTIONS_MAX: Final = 32

# An incarnation is 8 digits of the server's run and 8 of its own. Where INFO is not allowed, an empty run: then what a
# server that was started again has lost is not noticed.
_BEGIN: Final = """
local told = redis.pcall('INFO', 'server')
local run = type(told) == 'string' and string.match(told, 'run_id:(%x%x%x%x%x%x%x%x)') or ''
local there = redis.call('GET', KEYS[1])
if not there or string.sub(there, 1, -9) ~= run then
  there = run .. ARGV[1]
  redis.call('SET', KEYS[1], there)
end
return there
"""
# A copy is `<incarnation>\n<version>\n<row as JSON>`; KEYS[1] is the incarnation's, ARGV[1] the one it must be;
# KEYS[i] belongs to ARGV[2i-1] (version) and ARGV[2i] (row). Answers the incarnation that is.
_COPY: Final = """
local incarnation = redis.call('GET', KEYS[1])
if incarnation ~= ARGV[1] then return incarnation end
for i = 2, #KEYS do
  local of, version = string.match(redis.call('GET', KEYS[i]) or '', '^(%x+)\\n(%d+)\\n')
  if of ~= incarnation or tonumber(version) < tonumber(ARGV[2 * i - 1]) then
    local copy = incarnation .. '\\n' .. ARGV[2 * i - 1] .. '\\n' .. ARGV[2 * i]
    redis.call('SET', KEYS[i], copy, 'EX', ARGV[2])
  end
end
return incarnation
"""


def connect(url: str) -> Redis:
    """A client that fails fast and repeats nothing: every caller has another way to go on."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis(connection_pool=pool)


class RedisViews:
    """The copies. `copy` tells whether it succeeded; `read` answers nothing when Redis is away."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._begin = redis.register_script(_BEGIN)
        self._copy = redis.register_script(_COPY)
        self._answers = RedisAnswers(meanwhile="rows are read from PostgreSQL")
        self._incarnation = b""

    @property
    def incarnation(self) -> bytes:
        """The one that was there when Redis was last asked; nothing can be copied before it was."""
        return self._incarnation

    def key(self, view: View[Any], row_id: UUID) -> str:
        return f"{self._prefix}{view.table}:{row_id}"

    async def begin(self) -> None:
        """Learn the incarnation; begin one where Redis was emptied or started again. Repeat it every now and then."""
        begun = await self._answers.to(lambda: self._begin(keys=[self._key], args=[secrets.token_hex(4)]))
        self._incarnation = begun or self._incarnation

    async def copy(self, view: View[R], rows: Sequence[R], *, incarnation: bytes, ttl_s: int = COPY_S) -> bool:
        """Put the rows there, each unless a newer one is; may be repeated. False: Redis is away, or what it had when
        the rows were read is gone, which `incarnation` tells: take it before reading them, or before committing."""
        if not rows:
            return True
        if not incarnation:
            return False
        arguments: list[Any] = [incarnation, ttl_s]
        for row in rows:
            arguments += [row.version, msgspec.json.encode(row)]
        keys = [self._key, *(self.key(view, row.id) for row in rows)]
        there: bytes | None = await self._answers.to(lambda: self._copy(keys=keys, args=arguments))
        self._incarnation = there or self._incarnation
        return there == incarnation

    async def forget(self, view: View[Any], ids: Sequence[UUID]) -> None:
        """Take these copies away. Raises RedisError when Redis is away."""
        if ids:
            await self._redis.delete(*[self.key(view, row_id) for row_id in ids])

    async def read(self, view: View[R], ids: Iterable[UUID]) -> dict[UUID, R]:
        """The copies that are there."""
        ids = list(ids)
        keys = [self._key, *(self.key(view, row_id) for row_id in ids)]
        told: Any = await self._answers.to(lambda: self._redis.mget(keys))
        if told is None or told[0] is None:
            return {}
        self._incarnation = told[0]
        found = {}
        for row_id, copy in zip(ids, told[1:], strict=True):
            of, _, rest = (copy or b"").partition(b"\n")
            if of == self._incarnation:
                found[row_id] = msgspec.json.decode(rest.partition(b"\n")[2], type=view.row)
        return found

    @property
    def _key(self) -> str:
        return f"{self._prefix}incarnation"
