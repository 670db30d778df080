"""Poison: an event that a follower cannot apply. Its aggregate is parked, in order; all others flow.

Parked in the transaction of the position are the event and every later one of the same aggregate. Infrastructure is
never the fault of an event: it is waited for, or the worker ends. Past PARKED_AGGREGATES_MAX the follower stops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import psycopg

from adapters.away import AWAY, pause
from adapters.log import LogRecord
from adapters.parked_events import PARKED_AGGREGATES_MAX
from streams.following import AfterCommit, Follower
from streams.ports import FollowerTransaction, Wishes

# Not the event's fault either, but waiting does not help: a table that is not there, a right that is missing.
_BROKEN: Final = (psycopg.ProgrammingError, psycopg.InternalError, psycopg.NotSupportedError, MemoryError)
LOOK_S: Final = 1.0


class Stopped(Exception):
    """So many aggregates are parked for a follower that it goes no further."""

    def __init__(self, follower: str) -> None:
        super().__init__(
            f"{follower} has {PARKED_AGGREGATES_MAX} parked aggregates or more and stands still; see"
            f" `kontor parked list --follower {follower}`, mend what is wrong, then `kontor parked retry`"
        )


class Gone(Exception):
    """The follower is no more: its positions were deleted with its rows."""


def is_poison(error: BaseException) -> bool:
    """Is the event itself to blame, so that trying it again changes nothing?"""
    if isinstance(error, BaseExceptionGroup):
        return all(is_poison(each) for each in error.exceptions)
    if type(error) is psycopg.DatabaseError:
        return False  # of no SQLSTATE: the client library itself, which has no memory for an answer
    return isinstance(error, Exception) and not isinstance(error, (*AWAY, *_BROKEN, Stopped, Gone))


async def tried(
    transaction: FollowerTransaction, follower: Follower, record: LogRecord, after_commit: list[AfterCommit]
) -> str:
    """Apply one event in a savepoint; returns why it cannot be, empty when it is applied.

    Raises what is not the event's fault."""
    try:
        event = record.decoded()
        async with transaction.savepoint():
            hook = await follower.apply(transaction, [event])
    except Exception as error:
        if not is_poison(error):
            raise
        return f"{type(error).__name__}: {error}"
    if hook is not None:
        after_commit.append(hook)
    return ""


Resume = Callable[[Follower, Any, str, int], Awaitable[None]]


async def grant(parked: Wishes, followed: Callable[[], Mapping[str, Follower]], resume: Resume) -> None:
    """Do what operators wish; runs until cancelled. Any number of workers may: the position row is locked."""
    while True:
        await pause(LOOK_S)
        try:
            followers = followed()
            for name, aggregate_id, context, shard in await parked.wished():
                if name in followers:
                    await resume(followers[name], aggregate_id, context, shard)
        except AWAY:
            continue
