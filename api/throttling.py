"""How often a door may be used: what its declaration (`commands.doors`) says it costs and tells, as shares of buckets.

Counted per account, per mailbox and per address, for GraphQL and REST alike, and before anything is looked at, so that
requests which come at once cannot all pass. Only wrong guesses count: what succeeds, or fails for another reason, gives
its share back. Whether an account exists makes no difference: it is counted by its address.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from adapters.rate_limits import Rate, Share
from adapters.security_log import tell
from adapters.wiring import Kontor
from api.client_address import counted_networks
from commands import COMMANDS
from commands.doors import OWN, Door
from commands.handling import Actor
from commands.notifications import mailbox_of
from commands.security_events import SecurityEvent
from domain.errors import BadCredentials, DomainError, RateLimited

T = TypeVar("T")

# Who knows the password and guesses codes of six digits all day, three of which are good, has a chance of 1 in 230.
ACCOUNT: Final = Rate(burst=10, every_s=60.0, at_once=4)
ADDRESS: Final = Rate(burst=60, every_s=2.0, at_once=16)
# To one mailbox; by one account; from one address. What is sent is counted once more, per mailbox: `streams.mailing`.
MAILS: Final = Rate(burst=5, every_s=60.0)
MAILS_BY: Final = Rate(burst=10, every_s=60.0)
MAILS_FROM: Final = Rate(burst=30, every_s=30.0, at_once=4)
# Slow hashes, also those of who is right. Of one address only a few wait for a core at a time, others behind them.
HASHES: Final = Rate(burst=120, every_s=0.5, at_once=4)
TELLS: Final = Rate(burst=30, every_s=20.0, at_once=4)
POSTS: Final = Rate(burst=10, every_s=30.0, at_once=2)
# Recording a wrong password takes a commit, and without an account there is nothing to record: both answer after this.
REFUSAL_S_MIN: Final = 0.5
# What hides whether an account exists answers at a multiple of this after the request: what is stored for a new account
# takes some milliseconds more.
ANSWER_STEP_S: Final = 0.25
# Refusals that say nothing of the secret, or are told to whoever has it alone. All others count as a wrong guess.
NO_GUESS: Final = frozenset(
    {"RATE_LIMITED", "WEAK_PASSWORD", "MFA_REQUIRED", "REAUTHENTICATION_REQUIRED", "CONFLICT", "ILLEGAL_TRANSITION"}
)
# Refusals of the input itself, before anything was hashed, mailed or looked up.
NOTHING_DONE: Final = frozenset({"RATE_LIMITED", "WEAK_PASSWORD", "INVALID", "REAUTHENTICATION_REQUIRED"})


class RefreshTokens:
    """Not a command, but a guess like one: exchanging a refresh token."""

    DOOR: Final = Door(guesses="refresh_token")


@dataclass(frozen=True, slots=True)
class _Shares:
    """What one use of a door takes: `guesses` stay taken for a wrong one, `costs` unless nothing was done."""

    guesses: tuple[Share, ...]
    costs: tuple[Share, ...]

    @property
    def all(self) -> tuple[Share, ...]:
        """The account first: whoever waits for a turn of it holds none of the address."""
        return self.guesses + self.costs


@asynccontextmanager
async def throttled(kontor: Kontor, request: Any, *, actor: Actor, address: str) -> AsyncIterator[None]:
    """Around the execution of any command. Raises RateLimited before it, which says when to come again."""
    door, started = door_of(request), time.monotonic()
    shares = _shares(kontor, door, _given(request), actor, address)
    if not shares.all:
        yield
        return
    try:
        async with kontor.rate_limits.in_turn(shares.all), _counted(kontor, shares):
            yield
        if door.hides:
            await _next_step(started)
    except RateLimited:
        tell(SecurityEvent.RATE_LIMITED, who=actor.name, what=type(request).__name__, outcome="refused")
        raise
    except BadCredentials:
        if door.guesses and door.of:
            await asyncio.sleep(started + REFUSAL_S_MIN - time.monotonic())
        raise


async def sought(
    kontor: Kontor,
    door: Door,
    given: Mapping[str, Any],
    *,
    actor: Actor,
    address: str,
    look: Callable[[], Awaitable[T]],
) -> T:
    """What a root field finds; nothing found is a wrong guess. Raises RateLimited before it looks, which is told by
    what watches the field."""
    shares = _shares(kontor, door, given, actor, address)
    if not shares.all or (actor.is_staff and not shares.costs):  # they may see all there is
        return await look()
    async with kontor.rate_limits.in_turn(shares.all):
        await _take(kontor, shares)
        wrong = True
        try:
            found = await look()
            wrong = found is None
        finally:
            if not wrong:
                await kontor.rate_limits.give_back(shares.guesses)
    return found


def door_of(request: Any) -> Door:
    """The declaration of what is asked."""
    door: Door = COMMANDS[type(request)].door if type(request) in COMMANDS else request.DOOR
    return door


async def _next_step(started: float) -> None:
    """Holds no share: others of the address are not kept waiting."""
    took_s = time.monotonic() - started
    await asyncio.sleep(math.ceil(took_s / ANSWER_STEP_S) * ANSWER_STEP_S - took_s)


@asynccontextmanager
async def _counted(kontor: Kontor, shares: _Shares) -> AsyncIterator[None]:
    await _take(kontor, shares)
    wrong, done = False, True
    try:
        yield
    except DomainError as refusal:
        wrong, done = refusal.code not in NO_GUESS, refusal.code not in NOTHING_DONE
        raise
    except asyncio.CancelledError:  # nobody knows whether it was: going away in the middle must not be a way round
        wrong = True
        raise
    except Exception:  # it was not tried: who may not ask, or a server that is away
        done = False
        raise
    finally:
        await kontor.rate_limits.give_back((*(() if wrong else shares.guesses), *(() if done else shares.costs)))


async def _take(kontor: Kontor, shares: _Shares) -> None:
    wait_s = math.ceil(await kontor.rate_limits.take(shares.all))
    if wait_s > 0:
        raise RateLimited(f"This was tried too often; try again in {wait_s} s.", retry_after_s=wait_s)


def _given(request: Any) -> dict[str, Any]:
    if type(request) not in COMMANDS:
        return dict.fromkeys(door_of(request).inputs, "")
    return {each.name: getattr(request, each.name) for each in fields(request)}


def _shares(kontor: Kontor, door: Door, given: Mapping[str, Any], actor: Actor, address: str) -> _Shares:
    """Of an input that is left out nothing is counted."""
    return _Shares(tuple(_of_guesses(kontor, door, given, actor, address)),
                   tuple(_of_costs(kontor, door, given, actor, address)))  # fmt: skip


def _of_guesses(kontor: Kontor, door: Door, given: Mapping[str, Any], actor: Actor, address: str) -> Iterator[Share]:
    if not door.guesses or given.get(door.guesses) is None:
        return
    if door.of:
        yield _named(kontor, "sign-in", given[door.of], ACCOUNT)
    elif actor.user_id is not None:
        yield Share(f"account:{actor.user_id}", ACCOUNT)
    yield from _from(kontor, "wrong", address, ADDRESS)


def _of_costs(kontor: Kontor, door: Door, given: Mapping[str, Any], actor: Actor, address: str) -> Iterator[Share]:
    if door.mails not in ("", OWN) and given.get(door.mails) is not None:
        yield _named(kontor, "mail", mailbox_of(given[door.mails]), MAILS)
        if actor.user_id is not None:
            yield Share(f"mails:{actor.user_id}", MAILS_BY)
        yield from _from(kontor, "mails", address, MAILS_FROM)
    if door.tells and given.get(door.tells) is not None:
        if actor.user_id is not None:
            yield Share(f"tells:{actor.user_id}", TELLS)
        else:
            yield from _from(kontor, "tells", address, TELLS)
    if door.posts and actor.user_id is not None:
        yield Share(f"posts:{actor.user_id}", POSTS)
    if door.hashes:
        yield from _from(kontor, "hashes", address, HASHES)


def _from(kontor: Kontor, kind: str, address: str, rate: Rate) -> Iterator[Share]:
    """Of the client's address, and where it has many, of the network around it."""
    for network, times in counted_networks(address):
        yield _named(kontor, kind, network, rate if times == 1 else _times(rate, times))


def _times(rate: Rate, times: int) -> Rate:
    return replace(rate, burst=rate.burst * times, every_s=rate.every_s / times, at_once=rate.at_once * times)


def _named(kontor: Kontor, kind: str, text: str, rate: Rate) -> Share:
    """However an address is written it is one, and none is to be read in Redis. What cannot be encoded is refused
    later, with a sentence."""
    counted = text.strip().lower().encode(errors="replace").decode()
    return Share(f"{kind}:{kontor.personal_data.digest(counted)}", rate)
