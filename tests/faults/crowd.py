"""Clients that do not give up: each command has an idempotency key and is sent until it is answered.

What was acknowledged is written to the ledger, and flushed to the disk, before the client goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import UUID, uuid4

import aiohttp

SKUS: Final = 12
STOCK: Final = 200
HANGS_S: Final = 60.0
KEPT_UP_S_MAX: Final = 90.0
PAUSE_S: Final = 0.2
PACE_S: Final = 0.04
CALM_PACE_S: Final = 0.3  # a worker keeps up with what eight clients then order
READS: Final = 0.3  # of the placed orders are looked at again
# Sent again with the same key: it is not known, or not yet, what became of it.
AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One command and what became of it: a receipt, a refusal's code, or neither (nobody knows)."""

    key: str
    command: str
    given: dict[str, Any]
    attempts: int
    aggregate_id: UUID | None = None
    command_id: UUID | None = None
    version: int = 0
    token: str = ""
    replayed: bool = False
    refusal: str = ""

    @property
    def acknowledged(self) -> bool:
        """Was it answered with a receipt?"""
        return self.aggregate_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One attempt. Times are the loop's; status 0 is a connection that broke, and `code` then says how."""

    sent_at: float
    answered_at: float
    status: int
    code: str = ""
    read: bool = False

    @property
    def took_s(self) -> float:
        """How long the client waited."""
        return self.answered_at - self.sent_at


@dataclass(slots=True)
class Ledger:
    """Everything that was sent, in a file."""

    file: TextIO
    sent: list[Sent] = field(default_factory=list)

    @classmethod
    def at(cls, path: Path) -> Ledger:
        """A new one."""
        return cls(path.open("w"))

    def add(self, sent: Sent) -> None:
        """Write it down for good."""
        self.sent.append(sent)
        print(json.dumps({name: str(getattr(sent, name)) for name in sent.__slots__}), file=self.file, flush=True)
        os.fsync(self.file.fileno())


@dataclass(slots=True)
class Crowd:
    """Clients of one trial, with SKUs of its own."""

    url: str
    logins: dict[str, dict[str, str]]
    ledger: Ledger
    dice: random.Random
    clients: int = 8
    skus: int = SKUS
    pace_s: float = PACE_S  # between two commands of a client, on average
    run: str = field(default_factory=lambda: uuid4().hex[:8])
    answers: list[Answer] = field(default_factory=list)
    older: list[str] = field(default_factory=list)  # reads that were answered with less than their token asks for
    _headers: dict[str, dict[str, str]] = field(default_factory=dict)
    _orders: list[UUID] = field(default_factory=list)

    def sku(self, number: int) -> str:
        """The name of one of the trial's SKUs."""
        return f"F-{self.run}-{number}"

    async def prepare(self, http: aiohttp.ClientSession) -> None:
        """Sign in, add the products and their stock."""
        for who in ("staff", "customer"):
            await self._sign_in(http, who)
        await asyncio.gather(*(self._add(http, self.sku(number)) for number in range(self.skus)))

    async def _add(self, http: aiohttp.ClientSession, sku: str) -> None:
        price = {"amount": "2.55", "currency": "GBP"}
        await self.send(http, "staff", "add-product", {"sku": sku, "name": "Cup", "price": price})
        await self.send(http, "staff", "receive-stock", {"sku": sku, "quantity": STOCK})

    async def _sign_in(self, http: aiohttp.ClientSession, who: str) -> None:
        async with http.post(f"{self.url}/v1/commands/sign-in", json=self.logins[who]) as answer:
            body = await answer.json()
            assert answer.status == 200, body
            self._headers[who] = {"Authorization": f"Bearer {body['secret']['access_token']}"}

    async def work(self, http: aiohttp.ClientSession, until: asyncio.Event) -> None:
        """Send commands until told to end."""

        async def client() -> None:
            while not until.is_set():
                await self._one(http)
                await asyncio.sleep(self.dice.uniform(0, 2 * self.pace_s))

        async with asyncio.TaskGroup() as group:
            for _ in range(self.clients):
                group.create_task(client())

    async def _one(self, http: aiohttp.ClientSession) -> None:
        chance = self.dice.random()
        sku = self.sku(self.dice.randrange(self.skus))
        if chance < 0.4:
            await self.send(http, "staff", "receive-stock", {"sku": sku, "quantity": self.dice.randint(1, 5)})
        elif chance < 0.85 or not self._orders:
            wanted = self.dice.sample(range(self.skus), k=min(self.skus, self.dice.randint(1, 3)))
            lines = [{"sku": self.sku(number), "quantity": self.dice.randint(1, 2)} for number in wanted]
            sent = await self.send(
                http, "customer", "place-order", {"lines": lines, "currency": "GBP", "paymentMethod": "tok_1"}
            )
            if sent.aggregate_id is not None:
                self._orders.append(sent.aggregate_id)
                if self.dice.random() < READS:
                    await self._read(http, sent)
        else:
            order_id = self._orders.pop(self.dice.randrange(len(self._orders)))
            await self.send(http, "customer", "cancel-order", {"orderId": str(order_id), "reason": "changed my mind"})

    async def send(
        self, http: aiohttp.ClientSession, who: str, command: str, given: dict[str, Any], key: str | None = None
    ) -> Sent:
        """Send it until it is answered; what became of it is in the ledger."""
        key = key or str(uuid4())
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + KEPT_UP_S_MAX
        attempts = 0
        while loop.time() < give_up_at:
            attempts += 1
            status, body = await self.attempt(http, who, command, given, key)
            if status == 401:  # the token's time is over, by the clock of whoever looks at it
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, AssertionError):
                    await self._sign_in(http, who)
                continue
            if status == 200:
                sent = Sent(key=key, command=command, given=given, attempts=attempts, version=body["version"],
                            aggregate_id=UUID(body["aggregateId"]), command_id=UUID(body["commandId"]),
                            token=body["token"], replayed=body["replayed"])  # fmt: skip
                break
            code = str(body.get("code", status))
            if status and status not in AGAIN and code not in {"IDEMPOTENCY_IN_PROGRESS", "CONFLICT", "OVERLOADED"}:
                sent = Sent(key=key, command=command, given=given, attempts=attempts, refusal=code)
                break
            await asyncio.sleep(PAUSE_S)
        else:
            sent = Sent(key=key, command=command, given=given, attempts=attempts)
        self.ledger.add(sent)
        return sent

    async def attempt(
        self, http: aiohttp.ClientSession, who: str, command: str, given: dict[str, Any], key: str
    ) -> tuple[int, dict[str, Any]]:
        """Send it once: the status, 0 for a connection that broke, and the body."""
        headers = self._headers[who] | {"Idempotency-Key": key}
        limit = aiohttp.ClientTimeout(total=HANGS_S)
        clock = asyncio.get_running_loop().time
        sent_at, status = clock(), 0
        body: dict[str, Any] = {}
        try:
            url = f"{self.url}/v1/commands/{command}"
            async with http.post(url, json=given, headers=headers, timeout=limit) as answer:
                text = await answer.text()
                status, body = answer.status, {"code": "not JSON"}
                body = json.loads(text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            body.setdefault("code", type(error).__name__)
        code = str(body.get("code", ""))
        self.answers.append(Answer(sent_at=sent_at, answered_at=clock(), status=status, code=code))
        return status, body

    async def _read(self, http: aiohttp.ClientSession, sent: Sent) -> None:
        """Look at the order with its token: what is answered is at least as new, or it is an error."""
        headers = self._headers["customer"] | {"Kontor-Consistent-With": sent.token, "Kontor-Require": "fresh"}
        asked = {"query": "query($id: ID!) { order(id: $id) { version } }", "variables": {"id": str(sent.aggregate_id)}}
        limit = aiohttp.ClientTimeout(total=HANGS_S)
        clock = asyncio.get_running_loop().time
        sent_at, status, code = clock(), 0, ""
        try:
            async with http.post(f"{self.url}/graphql", json=asked, headers=headers, timeout=limit) as answer:
                body = json.loads(await answer.text())
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            code = type(error).__name__
            return
        finally:
            self.answers.append(Answer(sent_at=sent_at, answered_at=clock(), status=status, code=code, read=True))
        if body.get("errors") or status != 200:
            return
        version = (body["data"]["order"] or {"version": 0})["version"]
        if version < sent.version:
            self.older.append(f"order {sent.aggregate_id} was read at version {version} with a token of {sent.version}")
