"""Asking Redis, which may be away or silent at any time: whoever asks has another way to go on.

After some failures in a row it is not asked for a moment, so that nobody waits for its time-out in vain.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from redis.exceptions import RedisError

from adapters.circuit_breaker import CircuitBreaker

log = structlog.get_logger()
T = TypeVar("T")

# How long nobody waits for the time-out any more.
LEFT_ALONE_S_MAX: Final = 2.0


class RedisAnswers:
    """One user's questions. `meanwhile` is what the log says of how it goes on."""

    def __init__(self, *, meanwhile: str) -> None:
        self._meanwhile = meanwhile
        self._breaker = CircuitBreaker(time.monotonic, open_s_max=LEFT_ALONE_S_MAX)
        self._away = False

    async def to(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis says; None when it is away, which takes its client's time-out, or was a moment ago."""
        if not self._breaker.admits:
            return None
        self._breaker.begin()
        try:
            answer = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            told = f"{type(error).__name__}: {error}"  # an answer's repr is without what Redis says
            self._breaker.failed(told)
            if not self._away:  # once per outage, not once per question
                log.warning("redis_away", error=told, meanwhile=self._meanwhile)
            self._away = True
            return None
        except BaseException:
            self._breaker.interrupted()
            raise
        self._breaker.succeeded()
        self._away = False
        return answer
