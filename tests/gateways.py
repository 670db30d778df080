"""A real `kontor gateway` process for tests, what one asks of it, and a place that takes its webhooks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from adapters.payment_gateway import StripeGateway
from cli.stack.ports import CHOSEN_FROM, is_free
from commands.ports import Charge
from domain.money import Money
from tests.conftest import ROOT

KEY = "sk_test_of_the_tests"
SECRET = "whsec_of_the_tests"
START_S_MAX = 60.0


def free_port() -> int:
    """One that nothing takes by itself before it is used: the kernel gives outgoing connections none of these."""
    return next(port for port in random.sample(CHOSEN_FROM, k=len(CHOSEN_FROM)) if is_free(port))


@dataclass
class GatewayProcess:
    """The process; `start` after `kill` goes on with the same file and port."""

    folder: Path
    webhook_url: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
        return kept | {
            "KONTOR_GATEWAY_FILE": str(self.folder / "books.sqlite"),
            "KONTOR_GATEWAY_PORT": str(self.port),
            "KONTOR_GATEWAY_WEBHOOK_URL": self.webhook_url,
            "KONTOR_STRIPE_URL": self.url,
            "KONTOR_STRIPE_KEY": KEY,
            "KONTOR_STRIPE_WEBHOOK_SECRET": SECRET,
            "KONTOR_READY_FILE": str(self.folder / "ready"),
        }

    def start(self) -> None:
        """Returns when it serves."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            arguments = [sys.executable, "-m", "cli.main", "gateway"]
            self.process = subprocess.Popen(arguments, env=self.environment, cwd=ROOT, stdout=log, stderr=log)
        until = time.monotonic() + START_S_MAX
        while not ready.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        """How it ended."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`kontor gateway ARGUMENTS`."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", "gateway", *arguments],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    async def ask(
        self, method: str, path: str, form: dict[str, str] | bytes | None = None, *, key: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        """Status and answer."""
        headers = {"Authorization": f"Bearer {KEY}"} | ({"Idempotency-Key": key} if key else {})
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.url + path, data=form, headers=headers, **more) as answer,
        ):
            return answer.status, await answer.json()

    async def tell(self, kind: str, **more: Any) -> None:
        """Have it get something wrong."""
        status, answer = await self.ask("POST", "/_gateway/faults", json={"kind": kind} | more)
        assert status == 200, answer

    async def struck(self) -> None:
        """Wait until what it was told to get wrong has met the requests that it was for."""
        async with asyncio.timeout(START_S_MAX):
            while (await self.ask("GET", "/_gateway/faults"))[1]["faults"]:
                await asyncio.sleep(0.01)

    async def rows_of(self, payment_id: UUID) -> list[dict[str, Any]]:
        """What the ledger has of this payment."""
        _, ledger = await self.ask("GET", "/_gateway/ledger")
        return [row for row in ledger["rows"] if row["metadata"].get("payment_id") == str(payment_id)]

    async def money_of(self, payment_id: UUID) -> tuple[int, int, int, int]:
        """Authorised, captured, refunded and still held of the one intent of this payment."""
        (row,) = await self.rows_of(payment_id)
        return row["authorised"], row["captured"], row["refunded"], row["held"]

    async def clear(self) -> None:
        """No faults are left."""
        await self.ask("DELETE", "/_gateway/faults")

    def adapter(self, *, timeout_s: float = 5.0, key: str = KEY) -> StripeGateway:
        return StripeGateway(self.url, key, timeout_s=timeout_s)


def charge_of(method: str = "pm_card_visa", minor: int = 1_275, currency: str = "GBP") -> Charge:
    """A payment nobody has asked for yet."""
    payment_id = uuid4()
    return Charge(
        payment_id=payment_id,
        order_id=uuid4(),
        amount=Money(minor, currency),
        payment_method=method,
        key=f"payment/{payment_id}",
    )


@dataclass
class Receiver:
    """Takes webhooks; `statuses` are answered in turn, then 200."""

    url: str = ""
    got: list[tuple[bytes, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.got]

    def types(self, intent: str) -> list[str]:
        """Of what was told of this intent, in the order of arrival."""
        shown = [(event["type"], event["data"]["object"]) for event in self.events]
        return [kind for kind, told in shown if intent in (told["id"], told.get("payment_intent"))]


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """One that listens."""
    taking = Receiver()

    async def take(request: web.Request) -> web.Response:
        taking.got.append((await request.read(), request.headers["Stripe-Signature"]))
        return web.Response(status=taking.statuses.pop(0) if taking.statuses else 200)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    taking.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield taking
    finally:
        await runner.cleanup()


async def eventually(true: Callable[[], bool], *, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until, "it has not come about"
        await asyncio.sleep(0.02)
