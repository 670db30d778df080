"""Documents made by chance from the schema itself: aliases, fragments, conditions, variables, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLObjectType,
    GraphQLType,
    get_named_type,
    is_leaf_type,
    is_non_null_type,
)

from adapters.consistency import Token
from api.graphql.schema import schema
from commands.ports import StreamHead
from tests.api.made_rows import FIRST_DAY, Shop

CORE = schema._schema
QUERY = CORE.query_type
DEPTH = 6
FIELDS = 60
# Beyond these the ordinary path alone answers; they are asked for now and then.
RARE = {"history", "facets", "users", "views", "webhookEndpoints", "salesByDay", "mySessions", "node", "categories"}


@dataclass
class Made:
    """A document and what is sent with it."""

    text: str
    variables: dict[str, Any]
    operation: str | None


@dataclass
class Maker:
    """Makes one document about one shop."""

    chance: Random
    shop: Shop
    fields: int = 0
    aliases: int = 0
    definitions: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)

    def made(self) -> Made:
        """A whole document; now and then with a second operation."""
        assert QUERY is not None
        body = self.selection(QUERY, DEPTH)
        named = self.one_in(3)
        head = f"query Asked{self.head()}" if named or self.definitions else "query"
        text = "\n".join([f"{head} {body}", *self.fragments])
        if head == "query":
            return Made(text, self.variables, None)
        if self.one_in(4):
            text = f"{text}\nquery Other {{ __typename }}"
        return Made(text, self.variables, self.chance.choice((None, "Asked", "Asked", "Other", "Nobody")[:3]))

    def head(self) -> str:
        return f"({', '.join(self.definitions)})" if self.definitions else ""

    def one_in(self, n: int) -> bool:
        return self.chance.randrange(n) == 0

    def selection(self, kind: GraphQLObjectType, depth: int) -> str:
        """A selection set of this type; leaves alone when there was enough."""
        known = [name for name in kind.fields if name not in RARE or self.one_in(60)]
        if depth <= 1 or self.fields > FIELDS:
            known = [name for name in known if is_leaf_type(get_named_type(kind.fields[name].type))]
        roots = kind is QUERY
        count = self.chance.randrange(1, 4 if roots else 7)
        chosen = [self.chance.choice(known) for _ in range(count)] if known else []
        parts = [self.part(kind, name, depth) for name in chosen]
        if self.one_in(6) or not parts:
            parts.insert(self.chance.randrange(len(parts) + 1), "__typename")
        if self.one_in(200):
            parts.append("nothing")
        return "{ " + " ".join(parts) + " }"

    def part(self, kind: GraphQLObjectType, name: str, depth: int) -> str:
        """A field as it is, or in a fragment of some kind."""
        text = self.field(kind.fields[name], name, depth)
        way = self.chance.randrange(12)
        if way == 0:
            return f"... on {kind.name} {{ {text} }}"
        if way == 1:
            return f"...{self.condition()} {{ {text} }}"
        if way == 2:
            fragment = f"F{len(self.fragments)}"
            self.fragments.append(f"fragment {fragment} on {kind.name} {{ {text} }}")
            return f"...{fragment} ...{fragment}" if self.one_in(2) else f"...{fragment}{self.condition()}"
        if way == 3 and kind.interfaces:
            return f"... on Node {{ id }} {text}"
        return text

    def field(self, field: GraphQLField, name: str, depth: int) -> str:
        """With an alias of its own where arguments could differ."""
        self.fields += 1
        arguments = self.arguments(field)
        alias = ""
        if arguments or self.one_in(8):
            self.aliases += 1
            alias = f"a{self.aliases}: " if self.aliases < 28 else ""
        named = get_named_type(field.type)
        below = ""
        if isinstance(named, GraphQLObjectType):
            below = " " + self.selection(named, depth - 1)
        elif not is_leaf_type(named):
            below = " { id __typename }"
        return f"{alias}{name}{arguments}{self.condition()}{below}"

    def condition(self) -> str:
        """Mostly none."""
        if not self.one_in(10):
            return ""
        directive, flag = self.chance.choice(("skip", "include")), self.chance.choice((True, False))
        if self.one_in(2):
            return f" @{directive}(if: {str(flag).lower()})"
        kind = self.chance.choice(("Boolean!", "Boolean! = true", "Boolean = false"))
        return f" @{directive}(if: ${self.variable(kind, flag)})"

    def arguments(self, field: GraphQLField) -> str:
        """Those that are required, and some of the others."""
        parts = []
        for name, argument in field.args.items():
            if not is_non_null_type(argument.type) and not self.one_in(2):
                continue
            literal, value = self.value(name, argument.type)
            if self.one_in(2):
                literal = f"${self.variable(str(argument.type), value)}"
            parts.append(f"{name}: {literal}")
        return f"({', '.join(parts)})" if parts else ""

    def variable(self, kind: str, value: Any) -> str:
        """Declared and given; now and then left out, null, or of another type."""
        name = f"v{len(self.definitions)}"
        self.definitions.append(f"${name}: {kind}")
        way = self.chance.randrange(40)
        if way == 0:
            self.variables[name] = None
        elif way == 1:
            self.variables[name] = {"wrong": [1]}
        elif way > 3:
            self.variables[name] = value
        return name

    def value(self, name: str, kind: GraphQLType) -> tuple[str, Any]:
        """A value for this argument, as a literal and as a variable's."""
        chance, shop = self.chance, self.shop
        unknown = "00000000-0000-4000-8000-000000000000"
        ids = [str(row.id) for row in (*shop.orders[:8], *shop.users, *shop.products[:4])]
        texts: dict[str, list[Any]] = {
            "id": [*ids, unknown, "no id"],
            "number": ["K1", "K2", "K3", "none", "é"],
            "sku": [*[row.sku for row in shop.products], " " + shop.products[0].sku, "none"],
            "slug": [*[row.slug for row in shop.categories], "none", "\n"],
            "search": ["", "mug", "red", "tea or mug", "-mug", "S"],
            "after": ["no cursor", None],
            "first": [1, 2, 3, 20, 100, 0, 101, None],
            "orderBy": [None],
            "consistentWith": [None, self.token(0), self.token(10**6), "no token"],
        }
        if name == "orderBy":
            orders = "OrderOrder" in str(kind)
            return self.enum(["PLACED_DESC", "PLACED_ASC"] if orders else ["NAME_ASC", "PRICE_DESC", "NEWEST"])
        if name == "where":
            return self.filter(orders="Order" in str(kind))
        value = chance.choice(texts.get(name, [None]))
        if value is None and is_non_null_type(kind):
            value = "2026-01-01"
        return literal(value), value

    def enum(self, values: list[str]) -> tuple[str, Any]:
        value = self.chance.choice(values)
        return value, value

    def filter(self, *, orders: bool) -> tuple[str, Any]:
        """Conditions of either list."""
        chance, shop = self.chance, self.shop
        if orders:
            status, customer = chance.choice(("CONFIRMED", "REJECTED")), str(chance.choice(shop.users).id)
            wanted = chance.choice(({}, {"customerId": customer}, {"placedFrom": FIRST_DAY.isoformat()}))
            both = f"{{ status: [{status}] {fields(wanted)} }}"
            return both, {"status": [status], **wanted}
        wanted = chance.choice(
            ({}, {"inStock": True}, {"priceFrom": "1.00", "priceTo": "9.99"}, {"skus": [shop.products[0].sku, "none"]},
             {"categorySlug": chance.choice(shop.categories).slug}, {"priceFrom": "2", "priceTo": "1"})
        )  # fmt: skip
        return f"{{ {fields(wanted)} }}", wanted

    def token(self, position: int) -> str:
        """Of an order, reached or never."""
        row = self.chance.choice(self.shop.orders)
        return Token((StreamHead(row.id, "orders", row.version, position),)).encoded()


def literal(value: Any) -> str:
    """As a document has it."""
    if value is None or isinstance(value, bool | int):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list):
        return f"[{', '.join(literal(each) for each in value)}]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def fields(wanted: dict[str, Any]) -> str:
    """The fields of an input object."""
    return " ".join(f"{name}: {literal(value)}" for name, value in wanted.items())
