"""Reading what one has written: waits for the views a request reads, within its budget, and reports.

Asked for by `consistentWith` or the header `Kontor-Consistent-With`; the budget is `Kontor-Wait-Ms`, counted
from the request's first wait; `Kontor-Require: fresh` turns a stale answer into the error STALE_READ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from adapters.consistency import TOKEN_HEADS_MAX, Token, ViewPositions
from adapters.read_store import ReadStore
from api.graphql.errors import StaleRead
from commands.ports import StreamHead
from domain.errors import Invalid
from projections.view import View

WAIT_MS: Final = 2_000
WAIT_MS_MAX: Final = 5_000
_INSTEAD: Final = "ask again, or without `Kontor-Require: fresh`."


@dataclass(slots=True)
class Freshness:
    """What one request asks of the views, and what it got."""

    positions: ViewPositions
    reads: ReadStore
    wait_ms: int = WAIT_MS
    fresh_only: bool = False
    token: Token = field(default_factory=lambda: Token(()))
    stale: bool = False
    _served: int | None = None
    _waited_ms: int = 0
    _deadline: float | None = None
    _losses: int | None = None  # when the first view was waited for

    @classmethod
    def asked_by(cls, headers: Mapping[str, str], positions: ViewPositions, reads: ReadStore) -> Freshness:
        """As the request's headers say. Raises Invalid for a header that cannot be understood."""
        freshness = cls(positions, reads)
        wait = headers.get("kontor-wait-ms")
        if wait is not None:
            if not (wait.isascii() and wait.isdigit() and len(wait) <= 9):
                raise Invalid(f"Kontor-Wait-Ms is {wait!r}; give milliseconds, 0 to {WAIT_MS_MAX}.")
            freshness.wait_ms = min(int(wait), WAIT_MS_MAX)
        require = headers.get("kontor-require")
        if require not in (None, "fresh"):
            raise Invalid(f"Kontor-Require is {require!r}; it can only be `fresh`.")
        freshness.fresh_only = require == "fresh"
        freshness.require(headers.get("kontor-consistent-with"))
        return freshness

    def tried(self) -> Freshness:
        """The same wishes, and nothing noted yet; see `resume`."""
        return Freshness(self.positions, self.reads, self.wait_ms, self.fresh_only, self.token)

    def resume(self, tried: Freshness) -> None:
        """What was waited for in vain is not waited for again."""
        self._deadline, self._waited_ms = tried._deadline, tried._waited_ms

    def require(self, token: str | None) -> None:
        """From now on, views must show what this token names too. Raises Invalid for what is no token."""
        if token:
            self.require_heads(Token.parse(token).heads)

    def require_heads(self, heads: Iterable[StreamHead]) -> None:
        """From now on, views must show these events too."""
        self.token = Token(tuple(dict.fromkeys((*self.token.heads, *heads)))[:TOKEN_HEADS_MAX])

    def version_of(self, aggregate_id: UUID) -> int:
        """The least version of the aggregate that may be shown."""
        return self.token.version_of(aggregate_id)

    async def settle(self, view: View[Any]) -> None:
        """Wait until the view shows what the token names, or the budget is spent.

        Raises StaleRead when it is spent and the request wants nothing older."""
        if not self.token.heads:
            return
        if self._losses is None:
            self._losses = self.positions.losses
        if self.positions.reached(view, self.token) or await self._wait(view):
            return
        self.stale = True
        required = self.token.required_of(self.reads.generations.live(view))
        known = await self.reads.positions()
        served = min((known.get(key, 0) for key, least in required.items() if known.get(key, 0) < least), default=None)
        if served is not None:
            self._served = served if self._served is None else min(served, self._served)
        if self.fresh_only:
            raise StaleRead(
                f"The view {view.name} has not applied what the token names within {self.wait_ms} ms; {_INSTEAD}"
            )

    @property
    def is_shaken(self) -> bool:
        """Did PostgreSQL, or the connection to it, go away since views were waited for? They may have been read as
        they stood before."""
        return self._losses is not None and self._losses != self.positions.losses

    def refused(self) -> StaleRead | None:
        """Why what was read is not answered, where nothing older than the token is wanted."""
        if self.fresh_only and self.is_shaken:
            return StaleRead(f"PostgreSQL went away while this was read, and may have lost what was there; {_INSTEAD}")
        return None

    async def _wait(self, view: View[Any]) -> bool:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._deadline is None:
            self._deadline = started + self.wait_ms / 1000
        reached = await self.positions.wait(view, self.token, timeout_s=max(0.0, self._deadline - started))
        # Views are waited for side by side, so the longest wait is the request's.
        self._waited_ms = max(self._waited_ms, round((loop.time() - started) * 1000))
        return reached

    def report(self) -> dict[str, Any] | None:
        """For `extensions.consistency`: log positions asked for and served; None when nothing was asked for."""
        if self._losses is None:
            return None
        requested = max(head.position for head in self.token.heads)
        served = requested if self._served is None else self._served
        return {
            "requested": requested,
            "served": served,
            "stale": self.stale or self.is_shaken,
            "waitedMs": self._waited_ms,
        }
