"""A shop for a measurement: people who are signed in, products with stock, orders. Made through the API, as by users.

What it makes stays in the installation: nothing that an event says is ever taken back.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from uuid import uuid4

from adapters.settings import Settings
from adapters.wiring import open_kontor
from cli.bench.http_load import Question, asked_once
from cli.stack.problem import Problem
from commands.handling import Actor
from commands.users import RegisterUser
from domain.disclosure import Secret
from domain.users import Role

ACTOR: Final = Actor.system("bench")
PASSWORD: Final = "correct horse battery staple"  # noqa: S105  # of accounts that are made for this alone
AT_ONCE: Final = 8
PRODUCTS: Final = 60
CATEGORIES: Final = 6
UNITS: Final = 1_000_000
ORDERS_EACH: Final = 3
METHOD: Final = "pm_card_visa"
ADJECTIVES: Final = ("Enamelled", "Wooden", "Glass", "Copper", "Linen", "Ceramic", "Woollen", "Silver")
THINGS: Final = ("Teapot", "Kettle", "Basket", "Lantern", "Blanket", "Candlestick", "Mirror", "Saucer", "Jug", "Tray")

REGISTER: Final = "mutation($i: RegisterUserInput!) { registerUser(input: $i) { ok userErrors { code } } }"
SIGN_IN: Final = "mutation($i: SignInInput!) { signIn(input: $i) { ok userErrors { code } tokens { accessToken } } }"
ADD_CATEGORY: Final = (
    "mutation($i: AddCategoryInput!) { addCategory(input: $i) { ok userErrors { code } category { id } } }"
)
ADD_PRODUCT: Final = (
    "mutation($i: AddProductInput!) { addProduct(input: $i) { ok userErrors { code } product { id }"
    " receipt { token } } }"
)
RECEIVE: Final = (
    "mutation($i: ReceiveStockInput!) { receiveStock(input: $i) { ok userErrors { code }"
    " stockItem { sku onHand available } receipt { token } } }"
)
PLACE: Final = (
    "mutation($i: PlaceOrderInput!) { placeOrder(input: $i) { ok userErrors { code } order { id number status"
    " total { amount currency } } receipt { token } } }"
)
SEEN: Final = (
    "query($sku: String!, $t: ConsistencyToken) { product(sku: $sku, consistentWith: $t) { id stock { onHand } } }"
)
ORDER_SEEN: Final = "query($id: ID!, $t: ConsistencyToken) { order(id: $id, consistentWith: $t) { status } }"
UNDECIDED: Final = frozenset({"PENDING", "RESERVED"})
SETTLE_S: Final = 120.0
LOOK_S: Final = 0.1

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an access token."""

    token: str
    orders: list[str] = field(default_factory=list)  # ids


@dataclass(frozen=True, slots=True)
class Product:
    id: str
    sku: str
    name: str


@dataclass(frozen=True, slots=True)
class Placed:
    """An order of somebody, and the token that shows it."""

    buyer: Person
    id: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What requests are about. `placed` grows while the shop is asked: the latest orders, the latest last."""

    port: int
    customers: Sequence[Person]
    staff: Sequence[Person]
    products: Sequence[Product]
    placed: deque[Placed] = field(default_factory=lambda: deque(maxlen=1_000))

    def question(
        self, who: Person | None, document: str, variables: dict[str, Any], *headers: tuple[str, str]
    ) -> Question:
        """A request of this person."""
        return question_of(self.port, who, document, variables, *headers)


def question_of(
    port: int, who: Person | None, document: str, variables: dict[str, Any], *headers: tuple[str, str]
) -> Question:
    """A request of this person, or of somebody who is not signed in."""
    given = (*((("authorization", f"Bearer {who.token}"),) if who else ()), *headers)
    return Question(port, "/graphql", given, json.dumps({"query": document, "variables": variables}).encode())


def order_lines(products: Sequence[Product], dice: random.Random) -> dict[str, Any]:
    """What somebody buys: one to three products, one or two of each."""
    wanted = dice.sample(products, dice.randint(1, min(3, len(products))))
    lines = [{"sku": product.sku, "quantity": dice.randint(1, 2)} for product in wanted]
    return {"lines": lines, "currency": "GBP", "paymentMethod": METHOD}


async def opened_shop(settings: Settings, *, port: int, customers: int, staff: int, dice: random.Random) -> Shop:
    """A shop that is ready to be asked: everything that was made is in the views, and the orders are decided.

    Raises Problem for an answer that is not as wanted."""
    opening = _Opening(port, dice)
    clerks = await opening.all(await _clerks(settings, staff), opening.signed_in)
    buyers = await opening.all([_address() for _ in range(customers)], opening.registered)
    categories = await opening.all([(clerks[0], number) for number in range(CATEGORIES)], opening.category)
    products = await opening.all(
        [(clerks[number % staff], categories[number % CATEGORIES]) for number in range(PRODUCTS)], opening.product
    )
    shop = Shop(port=port, customers=buyers, staff=clerks, products=products)
    placed = await opening.all([(products, buyer) for buyer in buyers * ORDERS_EACH], opening.order)
    shop.placed.extend(placed)
    await opening.all(placed, opening.decided)
    return shop


def _address() -> str:
    return f"{uuid4().hex}@bench.example"


async def _clerks(settings: Settings, count: int) -> list[str]:
    """The addresses of new accounts of STAFF: who makes the first of them is the system."""
    addresses = [_address() for _ in range(count)]
    async with open_kontor(settings, name="bench") as kontor:
        for address in addresses:
            command = RegisterUser(email=address, name="Clerk", password=Secret(PASSWORD), roles=(Role.STAFF,))
            await kontor.pipeline.execute(command, actor=ACTOR)
    return addresses


class _Opening:
    """The steps that make a shop, up to AT_ONCE at a time."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port, self._dice, self._gate = port, dice, asyncio.Semaphore(AT_ONCE)
        self._mark = uuid4().hex[:6]  # of this run: SKUs and slugs are unique for ever
        self._made = 0

    async def all(self, wanted: Iterable[T], step: Callable[[T], Awaitable[R]]) -> list[R]:
        """The step for each."""

        async def one(each: T) -> R:
            async with self._gate:
                return await step(each)

        return await asyncio.gather(*map(one, wanted))

    async def registered(self, address: str) -> Person:
        """A customer who has signed in."""
        await self._asked(None, REGISTER, {"i": {"email": address, "name": "Buyer", "password": PASSWORD}})
        return await self.signed_in(address)

    async def signed_in(self, address: str) -> Person:
        made = await self._asked(None, SIGN_IN, {"i": {"email": address, "password": PASSWORD}})
        return Person(made["signIn"]["tokens"]["accessToken"])

    async def category(self, wanted: tuple[Person, int]) -> str:
        clerk, number = wanted
        given = {"name": f"Shelf {number}", "slug": f"mix-{self._mark}-{number}"}
        made = await self._asked(clerk, ADD_CATEGORY, {"i": given})
        return str(made["addCategory"]["category"]["id"])

    async def product(self, wanted: tuple[Person, str]) -> Product:
        clerk, category = wanted
        self._made += 1
        sku = f"MIX-{self._mark}-{self._made:04}"
        name = f"{self._dice.choice(ADJECTIVES)} {self._dice.choice(THINGS)} {self._made}"
        price = {"amount": f"{self._dice.randint(1, 90)}.50", "currency": "GBP"}
        given = {"sku": sku, "name": name, "description": f"{name}, made by hand", "price": price,
                 "categoryIds": [category]}  # fmt: skip
        made = await self._asked(clerk, ADD_PRODUCT, {"i": given})
        received = await self._asked(clerk, RECEIVE, {"i": {"sku": sku, "quantity": UNITS}})
        token = received["receiveStock"]["receipt"]["token"]

        def is_seen(data: Any) -> bool:
            return data["product"] is not None and data["product"]["stock"] is not None

        await self._until(clerk, SEEN, {"sku": sku, "t": token}, is_seen)
        return Product(made["addProduct"]["product"]["id"], sku, name)

    async def order(self, wanted: tuple[Sequence[Product], Person]) -> Placed:
        products, buyer = wanted
        made = await self._asked(buyer, PLACE, {"i": order_lines(products, self._dice)})
        order_id = made["placeOrder"]["order"]["id"]
        buyer.orders.append(order_id)
        return Placed(buyer, order_id, made["placeOrder"]["receipt"]["token"])

    async def decided(self, placed: Placed) -> None:
        def is_decided(data: Any) -> bool:
            return data["order"] is not None and data["order"]["status"] not in UNDECIDED

        await self._until(placed.buyer, ORDER_SEEN, {"id": placed.id, "t": placed.token}, is_decided)

    async def _until(
        self, who: Person, document: str, variables: dict[str, Any], reached: Callable[[Any], bool]
    ) -> None:
        give_up_at = asyncio.get_running_loop().time() + SETTLE_S
        while not reached(await self._asked(who, document, variables, ("kontor-wait-ms", "5000"))):
            if asyncio.get_running_loop().time() > give_up_at:
                raise Problem(f"What was written is not seen after {SETTLE_S:.0f} s: does the worker run? {variables}")
            await asyncio.sleep(LOOK_S)

    async def _asked(
        self, who: Person | None, document: str, variables: dict[str, Any], *headers: tuple[str, str]
    ) -> dict[str, Any]:
        _, body = await asked_once(question_of(self._port, who, document, variables, *headers))
        answer = json.loads(body)
        payloads = (answer.get("data") or {}).values()
        if answer.get("errors") or any(isinstance(each, dict) and each.get("ok") is False for each in payloads):
            raise Problem(f"{document.partition('(')[0]} was refused: {body[:300]!r}")
        data: dict[str, Any] = answer["data"]
        return data
