"""The road of one order through the running system: GraphQL in, log, Kafka, views, GraphQL out."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
import redis.asyncio

from tests.conftest import Stack

pytestmark = pytest.mark.servers

PLACE = """mutation($input: PlaceOrderInput!, $key: ID) { placeOrder(input: $input, idempotencyKey: $key) {
  ok userErrors { code message field } receipt { token commandId aggregateId version replayed }
  order { id number status total { amount minorUnits } lines { sku quantity } } } }"""
ORDER = """query($id: ID!, $token: ConsistencyToken) { order(id: $id, consistentWith: $token) {
  id status version rejectionReason lines { sku quantity } history { type version } } }"""
STOCK = """query($sku: String!, $token: ConsistencyToken) { stockItem(sku: $sku, consistentWith: $token) {
  onHand reserved available version } }"""
RECEIVE = """mutation($input: ReceiveStockInput!) { receiveStock(input: $input) {
  ok userErrors { code } receipt { token version } } }"""


def _is_stale(answer: dict[str, Any]) -> bool:
    return bool(answer.get("extensions", {}).get("consistency", {}).get("stale"))


class Client:
    """A frontend: one actor's requests."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str | None = None) -> None:
        self.http, self.url, self.token = http, url, token

    async def send(self, document: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
        head = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = {"query": document, "variables": variables}
        async with self.http.post(f"{self.url}/graphql", json=body, headers=head | (headers or {})) as answer:
            return json.loads(await answer.text())

    async def __call__(self, document: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
        """What is answered once the views have what a token asks for: on a busy machine one read waits in vain."""
        async with asyncio.timeout(60):
            while _is_stale(answer := await self.send(document, headers, **variables)):
                pass
        assert not answer.get("errors"), answer
        return answer["data"]

    async def signed_in(self, email: str, password: str) -> Client:
        document = "mutation($i: SignInInput!) { signIn(input: $i) { ok tokens { accessToken } } }"
        data = await self(document, i={"email": email, "password": password})
        assert data["signIn"]["ok"], data
        return Client(self.http, self.url, data["signIn"]["tokens"]["accessToken"])


@pytest.fixture
async def anyone(stack: Stack) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield Client(http, stack.status["http_url"])


@pytest.fixture
async def staff(stack: Stack, anyone: Client) -> Client:
    login = stack.status["logins"]["staff"]
    return await anyone.signed_in(login["email"], login["password"])


@pytest.fixture
async def buyer(anyone: Client) -> Client:
    email, password = f"{uuid.uuid4().hex}@example.com", "correct horse battery"
    document = "mutation($i: RegisterUserInput!) { registerUser(input: $i) { ok userErrors { message } } }"
    assert (await anyone(document, i={"email": email, "name": "Buyer", "password": password}))["registerUser"]["ok"]
    return await anyone.signed_in(email, password)


@pytest.fixture
async def sku(staff: Client) -> str:
    """A product at 2.55 GBP with 5 units in stock."""
    sku = f"SKU-{uuid.uuid4().hex[:10]}"
    add = "mutation($i: AddProductInput!) { addProduct(input: $i) { ok } }"
    product = {"sku": sku, "name": "Thing", "price": {"amount": "2.55", "currency": "GBP"}}
    assert (await staff(add, i=product))["addProduct"]["ok"]
    assert (await staff(RECEIVE, input={"sku": sku, "quantity": 5}))["receiveStock"]["ok"]
    return sku


def order_of(sku: str, quantity: int = 3) -> dict[str, Any]:
    return {"lines": [{"sku": sku, "quantity": quantity}], "currency": "GBP", "paymentMethod": "pm_card_visa"}


async def settled(client: Client, order_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            order = (await client(ORDER, id=order_id))["order"]
            if order and order["status"] not in ("PENDING", "RESERVED"):
                return order
            await asyncio.sleep(0.05)


@contextmanager
def frozen(pid: int) -> Any:
    """The process stands still, as in a long pause."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_an_order_within_stock_is_reserved_and_the_stock_held(buyer: Client, staff: Client, sku: str) -> None:
    placed = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]
    assert placed["ok"]
    assert placed["order"]["total"] == {"amount": "7.65", "minorUnits": 765}
    order = await settled(buyer, placed["order"]["id"])
    assert order["status"] == "CONFIRMED"
    assert [entry["type"] for entry in order["history"]] == ["order.placed", "order.reserved", "order.confirmed"]
    async with asyncio.timeout(60):
        while (stock := (await staff(STOCK, sku=sku))["stockItem"])["reserved"] != 3:
            await asyncio.sleep(0.05)
    assert (stock["onHand"], stock["available"]) == (5, 2)


async def test_an_order_above_stock_is_rejected_and_nothing_is_held(buyer: Client, staff: Client, sku: str) -> None:
    placed = (await buyer(PLACE, input=order_of(sku, 6)))["placeOrder"]
    order = await settled(buyer, placed["order"]["id"])
    assert order["status"] == "REJECTED"
    assert sku in order["rejectionReason"]
    assert (await staff(STOCK, sku=sku))["stockItem"]["reserved"] == 0


async def test_a_cancelled_order_gives_its_stock_back(buyer: Client, staff: Client, sku: str) -> None:
    order_id = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]["order"]["id"]
    await settled(buyer, order_id)
    cancel = 'mutation($id: ID!) { cancelOrder(orderId: $id, reason: "changed my mind") { ok order { status } } }'
    for _ in range(2):  # the second changes nothing
        assert (await buyer(cancel, id=order_id))["cancelOrder"] == {"ok": True, "order": {"status": "CANCELLED"}}
    async with asyncio.timeout(60):
        while (stock := (await staff(STOCK, sku=sku))["stockItem"])["version"] < 4:
            await asyncio.sleep(0.05)
    assert stock["reserved"] == 0


async def test_the_same_key_twice_at_once_is_one_order(buyer: Client, sku: str) -> None:
    answers = await asyncio.gather(*(buyer(PLACE, input=order_of(sku, 1), key="same") for _ in range(20)))
    placed = [answer["placeOrder"] for answer in answers]
    assert all(each["ok"] for each in placed), placed
    assert len({each["order"]["id"] for each in placed}) == 1
    assert sum(not each["receipt"]["replayed"] for each in placed) == 1


async def test_the_same_key_with_other_content_is_an_error(buyer: Client, sku: str) -> None:
    assert (await buyer(PLACE, input=order_of(sku, 1), key="k"))["placeOrder"]["ok"]
    other = (await buyer(PLACE, input=order_of(sku, 2), key="k"))["placeOrder"]
    assert (other["ok"], other["userErrors"][0]["code"]) == (False, "IDEMPOTENCY_KEY_MISMATCH")


async def test_somebody_elses_order_and_a_missing_one_look_alike(
    buyer: Client, anyone: Client, stack: Stack, sku: str
) -> None:
    order_id = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]["order"]["id"]
    await settled(buyer, order_id)
    login = stack.status["logins"]["customer"]
    other = await anyone.signed_in(login["email"], login["password"])
    assert await other(ORDER, id=order_id) == await other(ORDER, id=str(uuid.uuid4())) == {"order": None}


async def test_a_read_with_the_token_is_never_older_unless_it_says_so(staff: Client, sku: str) -> None:
    async def received(quantity: int) -> Any:
        """The receipt; None where the others were faster too often."""
        payload = (await staff(RECEIVE, input={"sku": sku, "quantity": quantity}))["receiveStock"]
        assert payload["ok"] or [error["code"] for error in payload["userErrors"]] == ["CONFLICT"]
        return payload["receipt"]

    async def write_and_read(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(10):
            while (receipt := await received(dice.randint(1, 9))) is None:
                pass
            seen = (await staff(STOCK, sku=sku, token=receipt["token"]))["stockItem"]
            assert seen["version"] >= receipt["version"], (seed, receipt, seen)

    await asyncio.gather(*(write_and_read(seed) for seed in range(8)))


async def test_a_view_that_stands_still_is_called_stale_or_refused(stack: Stack, staff: Client, sku: str) -> None:
    with frozen(stack.status["processes"]["worker"]):
        receipt = (await staff(RECEIVE, input={"sku": sku, "quantity": 1}))["receiveStock"]["receipt"]
        wait = {"Kontor-Wait-Ms": "300"}
        answer = await staff.send(STOCK, wait, sku=sku, token=receipt["token"])
        assert answer["extensions"]["consistency"]["stale"] is True
        refused = await staff.send(STOCK, wait | {"Kontor-Require": "fresh"}, sku=sku, token=receipt["token"])
        assert refused["errors"][0]["extensions"]["code"] == "STALE_READ"
    seen = (await staff(STOCK, {"Kontor-Wait-Ms": "5000"}, sku=sku, token=receipt["token"]))["stockItem"]
    assert seen["version"] == receipt["version"]


async def test_reads_stay_right_when_redis_is_emptied(stack: Stack, buyer: Client, sku: str) -> None:
    order_id = (await buyer(PLACE, input=order_of(sku)))["placeOrder"]["order"]["id"]
    before = await settled(buyer, order_id)
    client = redis.asyncio.Redis.from_url(stack.status["redis_url"])
    for _ in range(3):
        await client.flushall()
        assert (await buyer(ORDER, id=order_id))["order"] == before
    await client.aclose()


async def test_wrong_input_is_an_error_a_person_can_correct(buyer: Client, sku: str) -> None:
    for lines in (
        [],
        [{"sku": sku, "quantity": 0}],
        [{"sku": sku, "quantity": -1}],
        [{"sku": "a\u0000b", "quantity": 1}],
    ):
        placed = (await buyer(PLACE, input=order_of(sku) | {"lines": lines}))["placeOrder"]
        assert not placed["ok"], lines
        assert placed["userErrors"][0]["message"]


async def test_an_order_of_a_thousand_lines_is_reserved(stack: Stack, staff: Client) -> None:
    login = stack.status["logins"]["customer"]
    customer = await staff.signed_in(login["email"], login["password"])
    customer_id = (await customer("{ me { id } }"))["me"]["id"]
    tag = uuid.uuid4().hex[:8]
    add = """mutation($p: AddProductInput!, $s: ReceiveStockInput!) {
      addProduct(input: $p) { ok } receiveStock(input: $s) { ok } }"""
    gate = asyncio.Semaphore(16)

    async def stocked(sku: str) -> None:
        async with gate:
            product = {"sku": sku, "name": sku, "price": {"amount": "1", "currency": "GBP"}}
            data = await staff(add, p=product, s={"sku": sku, "quantity": 1})
            assert data["receiveStock"]["ok"]

    skus = [f"{tag}-{n}" for n in range(1000)]
    await asyncio.gather(*map(stocked, skus))
    order = {
        "lines": [{"sku": sku, "quantity": 1} for sku in skus],
        "paymentMethod": "account",
        "customerId": customer_id,
    }
    placed = (await staff(PLACE, input=order))["placeOrder"]
    assert placed["ok"], placed["userErrors"]
    assert (await settled(staff, placed["order"]["id"]))["status"] == "CONFIRMED"


async def test_stock_is_adjusted_to_what_was_counted(staff: Client, sku: str) -> None:
    adjust = """mutation($i: AdjustStockInput!) { adjustStock(input: $i) { ok userErrors { code field }
      receipt { token } stockItem { onHand available } } }"""
    counted = (await staff(adjust, i={"sku": sku, "onHand": 4, "reason": "one broke"}))["adjustStock"]
    assert (counted["ok"], counted["stockItem"]) == (True, {"onHand": 4, "available": 4})
    stock = (await staff(STOCK, sku=sku, token=counted["receipt"]["token"]))["stockItem"]
    assert (stock["onHand"], stock["available"]) == (4, 4)
    refused = (await staff(adjust, i={"sku": sku, "onHand": -1, "reason": "none"}))["adjustStock"]
    assert (refused["ok"], refused["userErrors"][0]["code"]) == (False, "INVALID")


async def test_every_view_says_how_far_it_is(staff: Client) -> None:
    views = (await staff("{ views { name version state position lagEvents lagSeconds parkedAggregates } }"))["views"]
    assert {"catalogue", "stock", "orders", "payments", "users"} <= {view["name"] for view in views}
    assert all(view["parkedAggregates"] >= 0 and int(view["position"]) >= 0 for view in views)
