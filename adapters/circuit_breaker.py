"""A circuit breaker: a provider that does not answer is left alone for a while, instead of being asked ever more.

Closed, everything passes. After FAILURES_MAX failures in a row it opens, for longer each time it finds nothing
better. Then it is half open: one call passes, and what comes of that closes it or opens it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from adapters.effects_ledger import BreakerState

FAILURES_MAX: Final = 5
OPEN_S_MIN: Final = 1.0
OPEN_S_MAX: Final = 60.0


class CircuitBreaker:
    """Of one provider in one process; `now` is a monotonic clock in seconds, `open_s_max` how long it is left alone."""

    def __init__(self, now: Callable[[], float], *, open_s_max: float = OPEN_S_MAX) -> None:
        self._now = now
        self._open_s_max = open_s_max
        self._failures = 0
        self._open_s = 0.0
        self._open_until = 0.0
        self._trying = False
        self.reason = ""  # of the last failure

    @property
    def state(self) -> BreakerState:
        if self._failures < FAILURES_MAX:
            return "closed"
        return "half_open" if self._now() >= self._open_until else "open"

    @property
    def admits(self) -> bool:
        """May a call be made now? While half open, one at a time."""
        return self.state == "closed" or (self.state == "half_open" and not self._trying)

    def begin(self) -> None:
        """A call is made."""
        self._trying = self.state == "half_open"

    def succeeded(self) -> None:
        """The provider has answered, whatever it said."""
        self._failures, self._open_s, self._trying = 0, 0.0, False

    def interrupted(self) -> None:
        """The call ended for a reason of our own: nothing is known of the provider, and another call may be made."""
        self._trying = False

    def failed(self, reason: str) -> None:
        """It has not. Calls that were under way when it opened do not make it stay open for longer."""
        if self.state == "open":
            return
        self._failures += 1
        self.reason = reason
        self._trying = False
        if self._failures >= FAILURES_MAX:
            self._open_s = min(self._open_s_max, 2 * self._open_s or OPEN_S_MIN)
            self._open_until = self._now() + self._open_s
