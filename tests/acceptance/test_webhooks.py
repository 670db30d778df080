"""Webhooks on the whole running system: an integrator is told of everything, in order, though the worker is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from adapters.wiring import open_kontor
from cli.logins import DEMO_LOGINS
from commands.catalogue import AddProduct, RepriceProduct
from commands.handling import Actor
from domain.identity import product_id
from domain.money import Money
from tests.conftest import Stack
from tests.streams.webhook_receiver import receiver

pytestmark = pytest.mark.acceptance

PRODUCTS, PRICES = 20, 5
TOLD_S = 120.0
SIGN_IN = "mutation($input: SignInInput!) { signIn(input: $input) { tokens { accessToken } } }"
REGISTER = "mutation($input: RegisterWebhookInput!) { registerWebhook(input: $input) { endpoint { id } secret } }"
TEST = "mutation($id: ID!) { testWebhook(endpointId: $id) { ok userErrors { message } } }"
REMOVE = "mutation($id: ID!) { removeWebhook(endpointId: $id) { ok } }"


async def test_an_integrator_is_told_of_everything_in_order_though_the_worker_is_killed(stack: Stack) -> None:
    async with (
        receiver() as receiving,
        aiohttp.ClientSession() as http,
        open_kontor(stack.settings, name="test") as kontor,
    ):

        async def ask(document: str, token: str = "", **variables: Any) -> Any:
            sent = {"query": document, "variables": variables}
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with http.post(f"{stack.status['http_url']}/graphql", json=sent, headers=headers) as answer:
                (value,) = (await answer.json())["data"].values()
                return value

        login = DEMO_LOGINS["integrator"]
        signed_in = await ask(SIGN_IN, input={"email": login.email, "password": login.password})
        token = signed_in["tokens"]["accessToken"]
        wanted = {"url": f"{receiving.url}/hooks", "types": ["product.added", "product.repriced"]}
        made = await ask(REGISTER, token, input=wanted)
        endpoint_id = made["endpoint"]["id"]
        assert await ask(TEST, token, id=endpoint_id) == {"ok": True, "userErrors": []}

        skus = [f"W-{uuid4().hex[:10]}" for _ in range(PRODUCTS)]

        async def sells(sku: str) -> None:
            run, staff = kontor.pipeline.execute, Actor.system("test")
            await run(AddProduct(sku=sku, name="Cup", price=Money(100, "GBP")), actor=staff)
            for minor in range(101, 100 + PRICES):
                await run(RepriceProduct(product_id=product_id(sku), price=Money(minor, "GBP")), actor=staff)

        selling = asyncio.gather(*(sells(sku) for sku in skus))
        async with asyncio.timeout(TOLD_S):
            while len(receiving.taken) < PRODUCTS:
                await asyncio.sleep(0.05)
            os.kill(stack.status["processes"]["worker"], signal.SIGKILL)
            await selling
            async with kontor.pool.connection() as connection:  # what it was at is anybody's at once
                await connection.execute("UPDATE webhook_deliveries SET claimed_until = now()")
            ids = {product_id(sku) for sku in skus}
            while len({post.id for post in receiving.taken}) < PRODUCTS * PRICES + 1:
                await asyncio.sleep(0.05)
        await ask(REMOVE, token, id=endpoint_id)
    first, *events = {post.id: post for post in receiving.taken}.values()
    assert first.event["type"] == "kontor.webhook.test"
    assert all(post.signed_with(made["secret"]) for post in receiving.taken)
    told: dict[str, list[int]] = {}
    for post in events:
        told.setdefault(post.event["subject"], []).append(int(post.event["sequence"]))
    assert told == {str(each): list(range(1, PRICES + 1)) for each in ids}
