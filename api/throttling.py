"""How often may be tried what can be guessed: passwords, codes, tokens; and what sends mails to somebody.

Counted per account and per address, for GraphQL and REST alike. Only wrong guesses count: what succeeds, or fails for
another reason, gives its share back. Whether an account exists makes no difference: it is counted by its address.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from adapters.rate_limits import Rate, Share
from adapters.wiring import Kontor
from commands.account_recovery import RequestPasswordReset, ResetPassword, VerifyEmail
from commands.credentials import ChangePassword, ConfirmMfa, DisableMfa
from commands.handling import Actor
from commands.sessions import SignIn
from domain.errors import BadCredentials, DomainError, RateLimited

log = structlog.get_logger()

# Who knows the password and guesses codes of six digits all day, three of which are good, has a chance of 1 in 230.
ACCOUNT: Final = Rate(burst=10, every_s=60.0, at_once=4)
ADDRESS: Final = Rate(burst=60, every_s=2.0, at_once=16)
MAILS: Final = Rate(burst=5, every_s=60.0)
REQUESTS_FOR_MAILS: Final = Rate(burst=60, every_s=2.0)
# Recording a wrong password takes a commit, and without an account there is nothing to record: both answer after this.
REFUSAL_S_MIN: Final = 0.5
WRONG: Final = frozenset({"BAD_CREDENTIALS", "MFA_INVALID", "TOKEN_REUSED", "INVALID"})


class RefreshTokens:
    """Not a command, but a guess like one: exchanging a refresh token."""


@asynccontextmanager
async def throttled(kontor: Kontor, request: Any, *, actor: Actor, address: str) -> AsyncIterator[None]:
    """Around the execution of any command. Raises RateLimited before it, which says when to come again."""
    shares, started = _shares(kontor, request, actor, address), time.monotonic()
    if not shares:
        yield
        return
    try:
        async with kontor.rate_limits.in_turn(shares), _counted(kontor, request, shares):
            yield
    except BadCredentials:
        if isinstance(request, SignIn):
            await asyncio.sleep(started + REFUSAL_S_MIN - time.monotonic())
        raise


@asynccontextmanager
async def _counted(kontor: Kontor, request: Any, shares: list[Share]) -> AsyncIterator[None]:
    wait_s = math.ceil(await kontor.rate_limits.take(shares))
    if wait_s > 0:
        log.warning("rate_limited", request=type(request).__name__, wait_s=wait_s)
        raise RateLimited(f"This was tried too often; try again in {wait_s} s.", retry_after_s=wait_s)
    wrong = always = isinstance(request, RequestPasswordReset)
    try:
        yield
    except DomainError as refusal:
        wrong = always or refusal.code in WRONG
        raise
    except asyncio.CancelledError:  # nobody knows whether it was: going away in the middle must not be a way round
        wrong = True
        raise
    finally:
        if not wrong:
            await kontor.rate_limits.give_back(shares)


def _shares(kontor: Kontor, request: Any, actor: Actor, address: str) -> list[Share]:
    """The account first: whoever waits for a turn of it holds none of the address."""

    def share(kind: str, text: str, rate: Rate) -> Share:
        # However an address is written it is one, and none is to be read in Redis. What cannot be encoded is refused
        # later, with a sentence.
        counted = text.strip().lower().encode(errors="replace").decode()
        return Share(f"{kind}:{kontor.personal_data.digest(counted)}", rate)

    match request:
        case SignIn(email=email):
            return [share("sign-in", email, ACCOUNT), share("wrong", address, ADDRESS)]
        case RequestPasswordReset(email=email):
            return [share("mail", email, MAILS), share("mails", address, REQUESTS_FOR_MAILS)]
        case ChangePassword() | ConfirmMfa() | DisableMfa() if actor.user_id is not None:
            return [Share(f"account:{actor.user_id}", ACCOUNT), share("wrong", address, ADDRESS)]
        case VerifyEmail() | ResetPassword() | RefreshTokens():
            return [share("wrong", address, ADDRESS)]
        case _:
            return []
