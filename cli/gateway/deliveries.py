"""Webhooks on their way: signed at each attempt, sent in order per payment, tried again until they are taken.

Guarantees: a webhook is on disk with the change it tells of, and is sent at least once, also after kill -9. One that
fails does not hold back the later ones, as at the provider: the receiver has to bear any order.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from functools import partial
from itertools import groupby
from typing import Final

import aiohttp
import structlog

from cli.gateway.books import Books, Delivery
from cli.gateway.clerk import Clerk

log = structlog.get_logger()

BATCH: Final = 64
AT_ONCE: Final = 8
ANSWER_S_MAX: Final = 10.0
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_S_MAX: Final = 60.0
ATTEMPTS_MAX: Final = 200  # about three hours
IDLE_S_MAX: Final = 1.0
PROBLEM_LENGTH_MAX: Final = 200


def signature(body: bytes, secret: str, *, now: int) -> str:
    """The header `Stripe-Signature` of this body; `now` in seconds since 1970."""
    digest = hmac.new(secret.encode(), str(now).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"


class Courier:
    """Sends what the books have queued to `url` until it is cancelled."""

    def __init__(self, clerk: Clerk, *, url: str, secret: str) -> None:
        self._clerk, self._url, self._secret = clerk, url, secret
        self._queued = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """Something was queued."""
        self._queued.set()

    async def run(self) -> None:
        """Send for ever."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
            while True:
                self._queued.clear()
                due: list[Delivery]
                next_due: float | None
                due, next_due = await self._clerk.do(_looked)
                if not due:
                    await self._rest(next_due)
                    continue
                due.sort(key=lambda each: (each.subject, each.number))
                per_payment = [list(group) for _, group in groupby(due, lambda each: each.subject)]
                await asyncio.gather(*(self._send_in_order(http, group) for group in per_payment))

    async def _rest(self, next_due: float | None) -> None:
        wait_s = IDLE_S_MAX if next_due is None else min(IDLE_S_MAX, max(0.0, next_due - time.time()))
        try:
            await asyncio.wait_for(self._queued.wait(), wait_s)
        except TimeoutError:
            return

    async def _send_in_order(self, http: aiohttp.ClientSession, deliveries: list[Delivery]) -> None:
        async with self._turns:
            for delivery in deliveries:
                problem = await self._post(http, delivery)
                await self._clerk.do(partial(note, delivery, problem))

    async def _post(self, http: aiohttp.ClientSession, delivery: Delivery) -> str:
        """What went wrong, or nothing."""
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(delivery.body, self._secret, now=int(time.time())),
        }
        try:
            async with http.post(self._url, data=delivery.body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return ""
                told = (await answer.content.read(PROBLEM_LENGTH_MAX)).decode(errors="replace")
                return f"answered with {answer.status}: {told}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"not answered ({type(error).__name__})"


def _looked(books: Books) -> tuple[list[Delivery], float | None]:
    """What is to be sent now, and when something will be."""
    return books.due(now=time.time(), limit=BATCH), books.next_due()


def note(delivery: Delivery, problem: str, books: Books) -> None:
    """Write down how an attempt ended; no problem means that it was taken."""
    if not problem:
        books.sent(delivery, now=time.time())
        return
    pause_s = min(BACKOFF_FIRST_S * 2.0 ** min(delivery.attempts, 20), BACKOFF_S_MAX)
    last = delivery.attempts + 1 >= ATTEMPTS_MAX
    books.not_sent(delivery, problem[:PROBLEM_LENGTH_MAX], again=None if last else time.time() + pause_s)
    if last:
        log.error("webhook_given_up", delivery=delivery.number, attempts=ATTEMPTS_MAX, problem=problem)
