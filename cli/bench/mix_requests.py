"""What the mix asks, how often, and what is wrong with an answer: 90 reads and 10 mutations of every 100 requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec

from cli.bench.http_load import Question
from cli.bench.shop import ADJECTIVES, PLACE, RECEIVE, THINGS, Person, Placed, Shop, order_lines

WRONG: Final = "WRONG"  # an answer without an error that is not what was asked for
SEARCH: Final = (
    "query($text: String!) { products(search: $text, first: 20) { nodes { id sku name price { amount currency }"
    " stock { available } } pageInfo { hasNextPage endCursor } totalCount } }"
)
PRODUCT: Final = (
    "query($sku: String!) { product(sku: $sku) { id sku name description price { amount currency } published version"
    " categories { slug name } stock { onHand available } } }"
)
STOCK: Final = "query($sku: String!) { stockItem(sku: $sku) { sku onHand reserved available version } }"
_ORDER_FIELDS: Final = (
    "id number status placedAt version total { amount currency } lines { sku name quantity unitPrice { amount }"
    " total { amount } } payment { status amount { amount } }"
)
ORDER: Final = "query($id: ID!) { order(id: $id) { " + _ORDER_FIELDS + " } }"
ORDER_NOW: Final = (
    "query($id: ID!, $t: ConsistencyToken) { order(id: $id, consistentWith: $t) { " + _ORDER_FIELDS + " } }"
)
_PAGE_FIELDS: Final = (
    "nodes { id number status placedAt total { amount currency } lines { sku name quantity } }"
    " pageInfo { hasNextPage endCursor }"
)
OWN_ORDERS: Final = "query { orders(first: 10) { " + _PAGE_FIELDS + " } }"
ORDERS: Final = "query { orders(first: 20, where: { status: [CONFIRMED] }) { " + _PAGE_FIELDS + " } }"
CATEGORIES: Final = "query { categories { id name slug parent { id } } }"
ME: Final = "query { me { id name email roles } }"
VIEWS: Final = "query { views { name version state position lagEvents lagSeconds parkedAggregates } }"
SALES: Final = (
    "query($from: String!, $to: String!) { salesByDay(from: $from, to: $to) { day orders units"
    " revenue { amount currency } } }"
)
SALES_DAYS: Final = 30
CANCEL: Final = (
    'mutation($id: ID!) { cancelOrder(orderId: $id, reason: "changed my mind") { ok userErrors { code }'
    " order { id status } receipt { token } } }"
)
UPDATE: Final = (
    "mutation($i: UpdateProductInput!) { updateProduct(input: $i) { ok userErrors { code } product { id name"
    " description } receipt { token } } }"
)
REPRICE: Final = (
    "mutation($i: RepriceProductInput!) { repriceProduct(input: $i) { ok userErrors { code } product { id"
    " price { amount } } receipt { token } } }"
)

Judge = Callable[[Any], bool]


class Mix:
    """Draws one request after the other; what is placed is learnt from the answers."""

    def __init__(self, shop: Shop, dice: random.Random) -> None:
        self._shop, self._dice, self._number = shop, dice, 0
        self._of: Mapping[str, Callable[[], MixRequest]] = {
            "product search": self._search,
            "one product": self._product,
            "stock of a product": self._stock,
            "one order": self._order,
            "own orders": lambda: self._page(OWN_ORDERS, "own orders", self._customer()),
            "order with its token": self._order_now,
            "page of orders": lambda: self._page(ORDERS, "page of orders", self._clerk()),
            "categories": lambda: self._plain("categories", CATEGORIES, None, lambda data: bool(data["categories"])),
            "me": lambda: self._plain("me", ME, self._customer(), lambda data: data["me"]["name"] == "Buyer"),
            "views": lambda: self._plain("views", VIEWS, self._clerk(), lambda data: bool(data["views"])),
            "sales by day": self._sales,
            "place order": self._place,
            "receive stock": self._receive,
            "update product": self._update,
            "reprice product": self._reprice,
            "cancel order": self._cancel,
        }

    def next(self) -> MixRequest:
        """A request, by the weights."""
        (kind,) = self._dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        return self.of(kind)

    def of(self, kind: str) -> MixRequest:
        """A request of this kind."""
        return self._of[kind]()

    def _customer(self) -> Person:
        return self._dice.choice(self._shop.customers)

    def _clerk(self) -> Person:
        return self._dice.choice(self._shop.staff)

    def _plain(self, kind: str, document: str, who: Person | None, judge: Judge) -> MixRequest:
        return MixRequest(kind, self._shop.question(who, document, {}), judge)

    def _search(self) -> MixRequest:
        # As it is typed: whole words, a beginning, two words.
        words = self._dice.choice([ADJECTIVES, THINGS])
        word = self._dice.choice(words)
        text = self._dice.choice([word, word[:4].lower(), f"{self._dice.choice(ADJECTIVES)} {word}"])
        question = self._shop.question(self._customer(), SEARCH, {"text": text})
        return MixRequest("product search", question, lambda data: data["products"]["totalCount"] is not None)

    def _product(self) -> MixRequest:
        sku = self._dice.choice(self._shop.products).sku
        question = self._shop.question(self._dice.choice([None, self._customer()]), PRODUCT, {"sku": sku})
        return MixRequest("one product", question, lambda data: data["product"]["sku"] == sku)

    def _stock(self) -> MixRequest:
        sku = self._dice.choice(self._shop.products).sku
        question = self._shop.question(self._customer(), STOCK, {"sku": sku})
        return MixRequest("stock of a product", question, lambda data: data["stockItem"]["onHand"] > 0)

    def _order(self) -> MixRequest:
        buyer = self._customer()
        order_id = self._dice.choice(buyer.orders)
        question = self._shop.question(buyer, ORDER, {"id": order_id})
        return MixRequest("one order", question, lambda data: data["order"]["id"] == order_id)

    def _order_now(self) -> MixRequest:
        placed = self._shop.placed[-1]
        variables = {"id": placed.id, "t": placed.token}
        question = self._shop.question(placed.buyer, ORDER_NOW, variables, ("kontor-require", "fresh"))
        return MixRequest("order with its token", question, lambda data: data["order"]["id"] == placed.id)

    def _page(self, document: str, kind: str, who: Person) -> MixRequest:
        return self._plain(kind, document, who, lambda data: bool(data["orders"]["nodes"]))

    def _sales(self) -> MixRequest:
        today = datetime.now(UTC).date()
        days = {"from": str(today - timedelta(days=SALES_DAYS)), "to": str(today)}
        question = self._shop.question(self._clerk(), SALES, days)
        return MixRequest("sales by day", question, lambda data: bool(data["salesByDay"]))

    def _place(self) -> MixRequest:
        buyer = self._customer()

        def learn(data: Any) -> bool:
            made = data["placeOrder"]
            self._shop.placed.append(Placed(buyer, made["order"]["id"], made["receipt"]["token"]))
            return bool(made["order"]["total"]["amount"])

        return self._mutation("place order", buyer, PLACE, {"i": order_lines(self._shop.products, self._dice)}, learn)

    def _receive(self) -> MixRequest:
        sku = self._dice.choice(self._shop.products).sku
        given = {"sku": sku, "quantity": self._dice.randint(1, 99)}

        def shown(data: Any) -> bool:
            return bool(data["receiveStock"]["stockItem"]["sku"] == sku)

        return self._mutation("receive stock", self._clerk(), RECEIVE, {"i": given}, shown)

    def _update(self) -> MixRequest:
        product, self._number = self._dice.choice(self._shop.products), self._number + 1
        text = f"{product.name}, edition {self._number}"
        given = {"productId": product.id, "description": text}

        def shown(data: Any) -> bool:
            return bool(data["updateProduct"]["product"]["description"] == text)

        return self._mutation("update product", self._clerk(), UPDATE, {"i": given}, shown)

    def _reprice(self) -> MixRequest:
        amount = f"{self._dice.randint(100, 9_999)}.50"
        given = {
            "productId": self._dice.choice(self._shop.products).id,
            "price": {"amount": amount, "currency": "GBP"},
        }

        def shown(data: Any) -> bool:
            return bool(data["repriceProduct"]["product"]["price"]["amount"] == amount)

        return self._mutation("reprice product", self._clerk(), REPRICE, {"i": given}, shown)

    def _cancel(self) -> MixRequest:
        """The oldest that this knows of; there are five placed for each that is cancelled."""
        placed = self._shop.placed.popleft() if len(self._shop.placed) > 1 else self._shop.placed[0]

        def shown(data: Any) -> bool:
            return bool(data["cancelOrder"]["order"]["status"] == "CANCELLED")

        return self._mutation("cancel order", placed.buyer, CANCEL, {"id": placed.id}, shown)

    def _mutation(self, kind: str, who: Person, document: str, variables: dict[str, Any], judge: Judge) -> MixRequest:
        key = str(uuid4())
        return MixRequest(kind, self._shop.question(who, document, variables, ("idempotency-key", key)), judge)


@dataclass(frozen=True, slots=True)
class MixRequest:
    """One request of the mix. `right` is asked of the data of an answer without errors."""

    kind: str
    question: Question
    right: Judge

    @property
    def request(self) -> bytes:
        """As it goes over the wire."""
        return self.question.request

    def fault(self, body: bytes) -> str | None:
        """The code of the first error or of the first `userErrors`, or WRONG."""
        answer = msgspec.json.decode(body)
        for error in answer.get("errors") or ():
            return str(error.get("extensions", {}).get("code", "UNNAMED"))
        for payload in answer["data"].values():
            if isinstance(payload, dict) and payload.get("ok") is False:
                return str(payload["userErrors"][0]["code"])
        try:
            return None if self.right(answer["data"]) else WRONG
        except (KeyError, TypeError):  # null where something should be
            return WRONG


READS: Final[Mapping[str, int]] = {
    "product search": 22, "one product": 26, "stock of a product": 8, "one order": 12, "own orders": 8,
    "order with its token": 2, "page of orders": 4, "categories": 4, "me": 2, "views": 1, "sales by day": 1,
}  # fmt: skip
MUTATIONS: Final[Mapping[str, int]] = {
    "place order": 5, "receive stock": 2, "update product": 1, "reprice product": 1, "cancel order": 1,
}  # fmt: skip
WEIGHTS: Final[Mapping[str, int]] = {**READS, **MUTATIONS}
