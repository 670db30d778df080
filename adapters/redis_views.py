"""Versioned copies of view rows in Redis. Redis may lose everything at any time: a missing copy is read from
Postgres and put back, and an older copy never replaces a newer one.
"""

from __future__ import annotations

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
# A copy put back by a reader may be outdated by the time it arrives in an emptied Redis: it lives shortly.
REFILL_S: Final = 60
TIMEOUT_S: Final = 0.5
CONNECTIONS_MAX: Final = 32

# A copy is `<version>\n<row as JSON>`; KEYS[i] belongs to ARGV[2i] (version) and ARGV[2i+1] (row).
_COPY: Final = """
for i, key in ipairs(KEYS) do
  local there = redis.call('GET', key)
  local version = tonumber(ARGV[2 * i])
  if not there or tonumber(string.match(there, '^(%d+)')) < version then
    redis.call('SET', key, ARGV[2 * i] .. '\\n' .. ARGV[2 * i + 1], 'EX', ARGV[1])
  end
end
return redis.status_reply('OK')
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
        self._copy = redis.register_script(_COPY)
        self._answers = RedisAnswers(meanwhile="rows are read from PostgreSQL")

    def key(self, view: View[Any], row_id: UUID) -> str:
        return f"{self._prefix}{view.table}:{row_id}"

    async def copy(self, view: View[R], rows: Sequence[R], *, ttl_s: int = COPY_S) -> bool:
        """Put the rows there, each unless a newer one is; may be repeated. False: Redis is away."""
        if not rows:
            return True
        arguments: list[Any] = [ttl_s]
        for row in rows:
            arguments += [row.version, msgspec.json.encode(row)]
        keys = [self.key(view, row.id) for row in rows]
        return await self._answers.to(lambda: self._copy(keys=keys, args=arguments)) is not None

    async def forget(self, view: View[Any], ids: Sequence[UUID]) -> None:
        """Take these copies away. Raises RedisError when Redis is away."""
        if ids:
            await self._redis.delete(*[self.key(view, row_id) for row_id in ids])

    async def read(self, view: View[R], ids: Iterable[UUID]) -> dict[UUID, R]:
        """The copies that are there."""
        ids = list(ids)
        keys = [self.key(view, row_id) for row_id in ids]
        copies: list[Any] | None = await self._answers.to(lambda: self._redis.mget(keys))
        if copies is None:
            return {}
        return {
            row_id: msgspec.json.decode(copy.partition(b"\n")[2], type=view.row)
            for row_id, copy in zip(ids, copies, strict=True)
            if copy is not None
        }
