"""A shop made by chance, as rows of the views: also what is missing, removed, hidden, erased or too large."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from adapters.read_store import upsert
from adapters.wiring import Kontor
from commands.handling import ANONYMOUS, Actor
from domain.disclosure import PersonalField
from domain.identity import OrderId, ProductId, payment_id, product_id, stock_item_id
from domain.money import Money
from domain.orders import OrderLine, OrderStatus
from domain.payments import PaymentStatus
from domain.users import Role
from projections.catalogue import CATALOGUE, ProductRow
from projections.categories import CATEGORIES, CategoryRow
from projections.inventory import STOCK, StockRow
from projections.orders import ORDERS, OrderRow
from projections.payments import PAYMENTS, PaymentRow
from projections.users import USERS, UserRow
from projections.view import View
from tests.erasing import erased_in_the_log

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = ("mug", "Red mug", 'tea pot, "large"', "Käse ☕ 'x'", "back\\slash\tand tab", "rare", "")
CURRENCIES = ("GBP", "GBP", "EUR", "JPY", "KWD")
AMOUNTS = (0, 1, 5, 99, 100, 255, 12_345, 2**31 - 1)


@dataclass(frozen=True)
class Shop:
    """What documents may ask about, and who may ask."""

    products: list[ProductRow]
    categories: list[CategoryRow]
    orders: list[OrderRow]
    users: list[UserRow]

    @property
    def actors(self) -> list[Actor]:
        customers = [Actor.user(row.id, [Role.CUSTOMER]) for row in self.users[:3]]
        others = [Actor.user(self.users[-1].id, [role]) for role in (Role.STAFF, Role.ADMIN, Role.ANALYST)]
        return [ANONYMOUS, *customers, *others]


def identity(chance: Random) -> UUID:
    return UUID(int=chance.getrandbits(128), version=4)


def moment(chance: Random) -> datetime:
    """Often the same as another's, with and without parts of a second."""
    parts = timedelta(microseconds=chance.choice((0, 0, 5, 120_000)))
    return FIRST_DAY + timedelta(hours=chance.randrange(6)) + parts


def product_rows(chance: Random, seed: int, categories: list[CategoryRow]) -> list[ProductRow]:
    # Of every seed its own: their copies in Redis outlive the rows.
    known = [row.id for row in categories] + [identity(chance)]
    return [
        ProductRow(
            id=product_id(f"S{seed}-{number}"),
            sku=f"S{seed}-{number}",
            name=chance.choice(TEXTS) or f"Thing {number}",
            description=chance.choice(TEXTS),
            price_minor=chance.choice(AMOUNTS),
            currency=chance.choice(CURRENCIES),
            published=chance.random() < 0.8,
            added_at=moment(chance),
            category_ids=tuple(chance.choices(known, k=chance.randrange(4))),
            version=chance.randrange(1, 9),
            position=number + 1,
        )
        for number in range(14)
    ]


def category_rows(chance: Random) -> list[CategoryRow]:
    ids = [identity(chance) for _ in range(7)]
    return [
        CategoryRow(
            id=own,
            name=f"Shelf {number}",
            slug=f"shelf-{number}",
            description=chance.choice(TEXTS),
            parent_id=chance.choice([None, *ids, identity(chance)]),
            removed=chance.random() < 0.2,
            version=number + 1,
            position=number + 1,
        )
        for number, own in enumerate(ids)
    ]


def order_row(chance: Random, number: int, products: list[ProductRow], people: list[UUID]) -> OrderRow:
    currency = chance.choice(CURRENCIES)
    sold = [chance.choice(products) for _ in range(chance.randrange(1, 5))]
    lines = tuple(
        OrderLine(
            sku=row.sku,
            product_id=row.id if chance.random() < 0.9 else ProductId(identity(chance)),
            name=row.name,
            quantity=(quantity := chance.choice((1, 2, 12, 1_000))),
            unit_price=Money(min(row.price_minor, (2**31 - 1) // quantity), currency),
        )
        for row in sold
    )
    return OrderRow(
        id=OrderId(identity(chance)),
        number=f"K{number}",
        status=chance.choice(list(OrderStatus)),
        customer_id=chance.choice(people),
        lines=lines,
        total_minor=min(sum(line.total.minor for line in lines), 2**31 - 1),
        currency=currency,
        placed_at=moment(chance),
        updated_at=moment(chance),
        reason=chance.choice((None, "changed my mind")),
        tracking_number=chance.choice((None, "T-1")),
        version=chance.randrange(1, 9),
        position=number,
    )


def payment_row(chance: Random, order: OrderRow) -> PaymentRow:
    return PaymentRow(
        id=payment_id(OrderId(order.id)),
        order_id=order.id,
        status=chance.choice(list(PaymentStatus)),
        amount_minor=order.total_minor,
        currency=order.currency,
        provider="stripe",
        reference=chance.choice((None, "pi_1")),
        version=1,
        position=1,
    )


async def user_row(kontor: Kontor, chance: Random, number: int) -> UserRow:
    """Every third person is erased."""
    own = identity(chance)
    email, name = await kontor.personal_data.seal(
        own,
        (PersonalField.USER_EMAIL, f"p{number}@example.com"),
        (PersonalField.USER_NAME, chance.choice(TEXTS)),
    )
    if number % 3 == 2:
        await erased_in_the_log(kontor.store, own)
        await kontor.personal_data.destroy(own)
    return UserRow(
        id=own,
        email_sealed=email,
        name_sealed=name,
        roles=tuple(chance.sample(list(Role), chance.randrange(1, 3))),
        created_at=moment(chance),
        mfa_enabled=chance.random() < 0.5,
        version=2,
        position=number + 1,
    )


async def stored_shop(kontor: Kontor, seed: int) -> Shop:
    """The shop of this seed, in the views of an installation that has nothing else."""
    chance = Random(seed)
    categories = category_rows(chance)
    products = product_rows(chance, seed, categories)
    users = [await user_row(kontor, chance, number) for number in range(5)]
    people = [row.id for row in users] + [identity(chance)]
    orders = [order_row(chance, number, products, people) for number in range(24)]
    payments = [payment_row(chance, row) for row in orders if chance.random() < 0.6]
    stock = [
        StockRow(
            id=stock_item_id(row.sku), sku=row.sku, on_hand=chance.choice((0, 5, 2**31 - 1)), reserved=0, version=3
        )
        for row in products[:-2]
    ]
    tables: list[tuple[View[Any], list[Any]]] = [
        (CATEGORIES, categories), (CATALOGUE, products), (USERS, users), (ORDERS, orders), (PAYMENTS, payments),
        (STOCK, stock),
    ]  # fmt: skip
    async with kontor.pool.connection() as connection:
        for view, rows in tables:
            await connection.execute(b"TRUNCATE " + view.table.encode())
            await connection.execute(upsert(view), [msgspec.json.encode(rows).decode()])
    return Shop(products, categories, orders, users)
