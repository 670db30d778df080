"""Which access tokens are void before they expire: one list a process, of what the log took away lately (ADR 27).

No I/O: `adapters.void_token_reader` fills it from the log, and the pipeline with what it has stored itself. To ask is a
look into two dictionaries. While the log has not been read for TRUSTED_S, nobody can say which tokens are good. One per
process and event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog

from commands.void_tokens import Voided, voided_by
from domain.users import Role

log = structlog.get_logger()

TOKEN_S_MAX: Final = 900  # as long as an access token lives
CLOCK_SKEW_S_MAX: Final = 300.0  # between two processes: tokens expire by the clock of the one that verifies them
KEPT_S: Final = TOKEN_S_MAX + CLOCK_SKEW_S_MAX
TRUSTED_S: Final = 3.0
HEARD_WAIT_S_MAX: Final = 2.0
ENTRIES_MAX: Final = 500_000  # about 200 MB; each takes a session that was opened with a password
LIMITS_MAX: Final = 8  # of one user


class TokensUnchecked(Exception):
    """The log has not been read lately, so nobody knows which tokens are void: try again in a moment."""


class Claims(NamedTuple):
    """What a token of ours says. `version` is the one that the user's account had when it was issued, `expires_at` is
    by the clock of the day, in seconds."""

    user_id: UUID
    roles: tuple[Role, ...]
    session_id: UUID
    version: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Limit:
    """Tokens of a user below this version are void, but those of the session that was kept."""

    version: int
    kept: UUID | None

    def covers(self, claims: Claims) -> bool:
        return claims.version < self.version and (self.kept is None or claims.session_id != self.kept)


def _with(limits: tuple[_Limit, ...], limit: _Limit) -> tuple[_Limit, ...]:
    """The limits with one more, which may be of an earlier version: what this process stores it knows before it reads.
    More than LIMITS_MAX become one that keeps no session."""
    if any(known.version >= limit.version and known.kept in (None, limit.kept) for known in limits):
        return limits
    if len(limits) >= LIMITS_MAX:
        return (_Limit(max(each.version for each in (*limits, limit)), None),)
    if limit.kept is None:
        limits = tuple(known for known in limits if known.version > limit.version)
    return (*limits, limit)


@dataclass(frozen=True, slots=True)
class _Entry:
    until: float
    key: int
    version: int  # 0: a session


@dataclass(slots=True)
class VoidTokens:
    """See `commands.ports.VoidTokens`."""

    _limits: dict[int, tuple[_Limit, ...]] = field(default_factory=dict)  # by user; ids as numbers hash in C
    _sessions: dict[int, float] = field(default_factory=dict)  # until when it is kept
    _entries: deque[_Entry] = field(default_factory=deque)
    _watchers: dict[int, set[asyncio.Event]] = field(default_factory=dict)
    _expiring_void: float = float("-inf")  # tokens that expire until then, by the clock of the day, are void
    _trusted_until: float = float("-inf")
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def trusted(self) -> bool:
        """Would we know by now of what was taken away?"""
        return monotonic() < self._trusted_until

    def is_void(self, claims: Claims) -> bool:
        """Is a token that says this void? The answer is complete while `trusted`."""
        limits = self._limits.get(claims.user_id.int)
        return (
            (limits is not None and any(limit.covers(claims) for limit in limits))
            or claims.session_id.int in self._sessions
            or claims.expires_at <= self._expiring_void
        )

    def note(self, events: Iterable[Any]) -> None:
        """See `commands.ports.VoidTokens.note`."""
        for event in events:
            if (voided := voided_by(event)) is not None:
                self.add(voided)

    def add(self, voided: Voided) -> None:
        """These are void from now on. Safe to repeat."""
        self.prune()
        until = monotonic() + KEPT_S
        user = voided.user_id.int
        if voided.session_ids is None:
            known = self._limits.get(user, ())
            limits = _with(known, _Limit(voided.version, voided.kept))
            if limits is not known:
                self._limits[user] = limits
                self._entries.append(_Entry(until, user, max(limit.version for limit in limits)))
        else:
            for session_id in voided.session_ids:
                if session_id.int not in self._sessions:
                    self._sessions[session_id.int] = until
                    self._entries.append(_Entry(until, session_id.int, 0))
        if len(self._entries) > ENTRIES_MAX:
            self._void_all()
        for watcher in self._watchers.get(user, ()):
            watcher.set()

    def prune(self) -> None:
        """Forget what no token outlives."""
        now = monotonic()
        while self._entries and self._entries[0].until <= now:
            gone = self._entries.popleft()
            if not gone.version:
                self._sessions.pop(gone.key, None)
            elif limits := self._limits.get(gone.key):
                left = tuple(limit for limit in limits if limit.version > gone.version)
                if left:
                    self._limits[gone.key] = left
                else:
                    del self._limits[gone.key]

    def trust(self, since: float) -> None:
        """Everything that was taken away before `since`, by `time.monotonic`, is on the list."""
        self._trusted_until = since + TRUSTED_S
        self._heard.set()

    async def heard(self) -> None:
        """Return when `trusted`. Raises TokensUnchecked after HEARD_WAIT_S_MAX."""
        give_up_at = monotonic() + HEARD_WAIT_S_MAX
        while not self.trusted:
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), max(0.0, give_up_at - monotonic()))
            except TimeoutError:
                if self.trusted:
                    return
                raise unchecked() from None

    async def until_void(self, claims: Claims) -> None:
        """Return when a token that says this is void."""
        news = asyncio.Event()
        watchers = self._watchers.setdefault(claims.user_id.int, set())
        watchers.add(news)
        try:
            while not self.is_void(claims):
                news.clear()
                await news.wait()
        finally:
            watchers.discard(news)
            if not watchers and self._watchers.get(claims.user_id.int) is watchers:
                del self._watchers[claims.user_id.int]

    def _void_all(self) -> None:
        """More than fits: every token that is out is void, and the list begins anew."""
        log.warning("every_access_token_void", entries=len(self._entries))
        self._expiring_void = time() + TOKEN_S_MAX
        self._entries.clear()
        self._limits.clear()
        self._sessions.clear()
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.set()


def unchecked() -> TokensUnchecked:
    """The refusal while the list is not trusted."""
    return TokensUnchecked(
        f"Which access tokens are still good was not read from the log for {TRUSTED_S:g} s, so none is accepted; "
        "try again in a moment."
    )
