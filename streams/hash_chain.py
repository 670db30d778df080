"""Extending the hash chain over the log, and checking it.

The chain is extended by the relay's process, leader or not: one at a time adds a link. What is checked is every event
against the link that covers it, and every link against the one before. Nothing repairs a broken chain: it says that
the log is not what was recorded, and a person has to find out why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.away import AWAY, pause
from adapters.hash_chain import LINK_EVENTS_MAX, START, ChainCut, HashChain, HashedEvent, Link

log = structlog.get_logger()

LOOK_S: Final = 0.2
RETRY_PAUSE_S: Final = 1.0
# So often the newest hash is logged: the log of the process is kept where the database's owner does not reach.
TELL_S: Final = 300.0

Found = Callable[[str, str, object, str], None]  # where, what, subject, detail
WHERE: Final = "hash chain"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The hash that the chain had at a position, as it was noted outside the database."""

    position: int
    hash: bytes

    @classmethod
    def of(cls, text: str) -> Anchor:
        """Reads POSITION:HASH. Raises ValueError."""
        position, _, hashed = text.partition(":")
        anchor = cls(int(position), bytes.fromhex(hashed))
        if anchor.position < 1 or len(anchor.hash) != len(START):
            raise ValueError("a position is 1 or more, and a hash has 64 hexadecimal digits")
        return anchor

    def __str__(self) -> str:
        return f"{self.position}:{self.hash.hex()}"


async def extend(chain: HashChain) -> None:
    """Chain every new event until cancelled; goes on after the database was away."""
    told_at = asyncio.get_running_loop().time() - TELL_S
    newest: Link | None = None
    while True:
        try:
            link = await chain.extend()
        except AWAY as error:
            log.warning("hash_chain_waits", error=repr(error))
            await pause(RETRY_PAUSE_S)
            continue
        except ChainCut as error:
            log.error("hash_chain_cut", error=str(error))
            await pause(TELL_S)
            continue
        newest = link or newest
        if newest is not None and asyncio.get_running_loop().time() - told_at >= TELL_S:
            log.info("hash_chain", anchor=str(Anchor(newest.position, newest.hash)))
            told_at, newest = asyncio.get_running_loop().time(), None
        if link is None or link.events < LINK_EVENTS_MAX:
            await asyncio.sleep(LOOK_S)


async def check(
    chain: HashChain, until: int, found: Found, expected: Sequence[Anchor] = (), *, wait_s: float
) -> tuple[Anchor | None, int]:
    """Tell what differs from the chain; returns its end and the number of events that it covers. Waits up to `wait_s`
    for the log to be chained up to `until`."""
    await _extended(chain, until, wait_s)
    wanted = {anchor.position: anchor.hash for anchor in expected}
    before, covered, end = Link(0, 0, b"", START, ()), 0, await chain.end()
    stored = _Stored(chain, end)
    async for link in chain.links(end):
        events = await stored.up_to(link)
        if link.previous_hash != before.hash:
            found(WHERE, "missing", before.position + 1, f"the link up to {link.position} does not continue the one "
                  f"up to {before.position}: a link was removed or changed")  # fmt: skip
        _compare(chain, before, link, events, found)
        if link.hash != wanted.pop(link.position, link.hash):
            found(WHERE, "different", link.position, "the chain had another hash here when the expected one was noted")
        covered += len(events)
        before = link
    for position in sorted(wanted):
        found(WHERE, "missing", position, f"no link ends here any more; the chain ends at {before.position}")
    if before.position < until:
        found(WHERE, "stale", before.position, f"the log is at {until}; is the relay running?")
    return (Anchor(before.position, before.hash) if before.position else None), covered


class _Stored:
    """The events of the log, taken link by link."""

    def __init__(self, chain: HashChain, until: int) -> None:
        self._events = chain.events(until)
        self._next: HashedEvent | None = None

    async def up_to(self, link: Link) -> list[HashedEvent]:
        """Those behind the link before. One more than the link has is enough to know that there are too many."""
        taken: list[HashedEvent] = []
        while (event := self._next or await anext(self._events, None)) is not None:
            self._next = event if event.position > link.position else None
            if self._next:
                break
            if len(taken) <= link.events:
                taken.append(event)
        return taken


def _compare(chain: HashChain, before: Link, link: Link, events: Sequence[HashedEvent], found: Found) -> None:
    hashes = b"".join(event.hash for event in events)
    reaches = events[-1].position == link.position if events else False
    if len(events) == link.events and reaches and chain.hash_of(link.previous_hash, link.position, hashes) == link.hash:
        return
    pairs = zip((event.mark for event in events), link.marks, strict=False)
    same = next((n for n, (now, then) in enumerate(pairs) if now != then), min(len(events), len(link.marks)))
    reached = events[same - 1].position if same else before.position
    if len(events) < link.events:
        found(WHERE, "missing", reached + 1, f"an event behind position {reached} was removed: {len(events)} of the "
              f"{link.events} up to {link.position} are left")  # fmt: skip
    elif len(events) > link.events:
        found(
            WHERE, "extra", events[same].position, f"more than the {link.events} events recorded up to {link.position}"
        )
    elif same < len(events):
        found(WHERE, "different", events[same].position, "the event is not the one that was recorded")
    else:
        found(WHERE, "different", before.position + 1, f"the link up to {link.position} was changed, or made with "
              "another key")  # fmt: skip


async def _extended(chain: HashChain, until: int, wait_s: float) -> None:
    give_up_at = asyncio.get_running_loop().time() + wait_s
    while await chain.end() < until and asyncio.get_running_loop().time() < give_up_at:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)  # another process extends it
