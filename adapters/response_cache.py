"""Whole answers, kept until a row they were made from changes (ADR 23). No I/O: `adapters.consistency` brings the news.

An answer is what was read after its number was taken. A change that is told later than that number voids it, whether
it is already kept or about to be. While the channel of changes has not been heard for TRUSTED_S nothing is given out;
once it is lost, everything is dropped. One per process and event loop.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from time import monotonic
from typing import Final
from uuid import UUID

from adapters.metrics import CACHE_BYTES, CACHE_HITS, CACHE_INVALIDATIONS, CACHE_MISSES
from adapters.view_notices import ALL, Change, mark_of

Key = tuple[str, bytes, bytes]  # who asks, what is accepted, what is asked
Tag = tuple[str, str]  # a table, and a mark, WHOLE or ALL

WHOLE: Final = ""
TRUSTED_S: Final = 3.0
ENTRIES_MAX: Final = 50_000
ENTRY_SHARE_MAX: Final = 8  # no answer takes more than an eighth of the bytes
TAGS_MAX: Final = 2_000  # of one answer
ASKED_MAX: Final = 20_000
NOTICES_MAX: Final = 500
# What Python needs beside the bytes themselves, generously: measured 1,100 for an entry of one tag, 190 a tag more.
ENTRY_BYTES: Final = 1_400
TAG_BYTES: Final = 250


class MadeOf:
    """What an answer was made from, noted where it is read."""

    def __init__(self) -> None:
        self.tags: set[Tag] = set()

    def rows(self, table: str, ids: Iterable[UUID]) -> None:
        """These rows, whether they exist or not."""
        self.tags.add((table, ALL))
        self.tags.update((table, mark_of(row_id)) for row_id in ids)

    def whole(self, table: str) -> None:
        """Which rows there are, and anything in them."""
        self.tags |= {(table, ALL), (table, WHOLE)}


Header = tuple[bytes, bytes]
_ALWAYS: Final = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and what is sent with it: its strong validator and how to ask with it, `validators`, and its kind."""

    body: bytes
    etag: bytes
    validators: tuple[Header, ...]
    head: tuple[Header, ...]

    @classmethod
    def of(cls, body: bytes, content_type: bytes) -> Answer:
        """The validator is of the bytes."""
        etag = b'"' + blake2b(body, digest_size=16).hexdigest().encode() + b'"'
        validators = ((b"etag", etag), *_ALWAYS)
        kind = ((b"content-type", content_type), (b"content-length", str(len(body)).encode()))
        return cls(body, etag, validators, kind + validators)


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    tags: frozenset[Tag]
    size: int


@dataclass(frozen=True, slots=True)
class _Told:
    """A change, with the number from which on it is known."""

    number: int
    tables: frozenset[str]
    marks: frozenset[str]

    def voids(self, tags: Iterable[Tag]) -> bool:
        """Who has read of a table at all has the tag ALL of it."""
        return any(table in self.tables and (mark == WHOLE or mark in self.marks) for table, mark in tags)


@dataclass(slots=True)
class ResponseCache:
    """At most `bytes_max`, keys and bookkeeping included; what nobody asked for longest goes first. 0 keeps nothing."""

    bytes_max: int
    clock: Callable[[], float] = monotonic
    size: int = 0
    _entries: OrderedDict[Key, _Entry] = field(default_factory=OrderedDict)
    _by_tag: dict[Tag, set[Key]] = field(default_factory=dict)
    _asked: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _told: deque[_Told] = field(default_factory=deque)
    _number: int = 0
    _floor: int = 0  # who began before it has missed something
    _trusted_until: float = float("-inf")

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def trusted(self) -> bool:
        """Would we know by now if something had changed?"""
        return self.clock() < self._trusted_until

    def answer(self, key: Key) -> Answer | None:
        """What is kept; to be asked while `trusted` alone."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        CACHE_HITS.inc()
        return entry.answer

    def begin(self, key: Key) -> int | None:
        """The number for `keep`, to be taken before anything is read. None: nothing is kept, because this is the first
        time that somebody asks: most questions are asked once, and are cheaper to answer from copies."""
        CACHE_MISSES.inc()
        asked = hash(key)
        if asked in self._asked:
            self._asked.move_to_end(asked)
            return self._number
        self._asked[asked] = None
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)
        return None

    def keep(self, key: Key, answer: Answer, made_of: MadeOf, *, since: int) -> bool:
        """False, and nothing is kept, when something of it has changed since that number, or it is too large."""
        tags = frozenset(made_of.tags)
        size = len(answer.body) + len(key[1]) + len(key[2]) + ENTRY_BYTES + TAG_BYTES * len(tags)
        if not self.trusted or since < self._floor or len(tags) > TAGS_MAX or size * ENTRY_SHARE_MAX > self.bytes_max:
            return False
        for told in reversed(self._told):
            if told.number <= since:
                break
            if told.voids(tags):
                return False
        self._drop(key)
        self._entries[key] = _Entry(answer, tags, size)
        for tag in tags:
            self._by_tag.setdefault(tag, set()).add(key)
        self.size += size
        while self.size > self.bytes_max or len(self._entries) > ENTRIES_MAX:
            self._drop(next(iter(self._entries)))
        CACHE_BYTES.set(self.size)
        return True

    def trust(self) -> None:
        """Everything that changed before now has been told."""
        if self.bytes_max:
            self._trusted_until = self.clock() + TRUSTED_S

    def distrust(self) -> None:
        """Changes may have been missed, or are no longer told: drop everything, and give out nothing until `trust`."""
        self._trusted_until = float("-inf")
        self._number += 1
        self._floor = self._number
        self._told.clear()
        CACHE_INVALIDATIONS.inc(len(self._entries))
        self._entries.clear()
        self._by_tag.clear()
        self.size = 0
        CACHE_BYTES.set(0)

    def changed(self, change: Change) -> None:
        """These rows have changed: drop what was made from them, now or soon."""
        if not self.bytes_max:
            return
        self._number += 1
        if len(self._told) >= NOTICES_MAX:
            self._floor = self._told.popleft().number
        self._told.append(_Told(self._number, frozenset(change.tables), frozenset(change.marks)))
        # Who has read of a table at all has the tag ALL of it.
        read = [table for table in change.tables if (table, ALL) in self._by_tag]
        for table in read:
            for mark in (WHOLE, *change.marks):
                for key in tuple(self._by_tag.get((table, mark), ())):
                    self._drop(key)
                    CACHE_INVALIDATIONS.inc()
        CACHE_BYTES.set(self.size)

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.size -= entry.size
        for tag in entry.tags:
            keys = self._by_tag[tag]
            keys.discard(key)
            if not keys:
                del self._by_tag[tag]
