"""Products: every decision from every state."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain.catalogue import (
    DESCRIPTION_LENGTH_MAX,
    NAME_LENGTH_MAX,
    PRODUCT_CATEGORIES_MAX,
    SKU_LENGTH_MAX,
    Product,
    valid_sku,
)
from domain.errors import Invalid
from domain.identity import product_id
from domain.money import Money
from tests.given import GBP_2_55, NOW, Decision, Told, decide, told

CUPS, GIFTS = UUID(int=0xC1), UUID(int=0xC2)
PUBLISHED: list[Decision] = []
WITHDRAWN: list[Decision] = [("withdraw", {})]
CHEAPER: Decision = ("reprice", {"price": Money(199, "GBP")})


def add(**more: object) -> Product:
    given = {"sku": "MUG", "name": "Mug", "description": "", "price": GBP_2_55, "published": True, "now": NOW}
    return Product.add(**(given | more))


def test_a_product_is_named_by_its_trimmed_sku() -> None:
    product = add(sku=" MUG ", name=" Mug ", description=" Blue ")
    assert (product.id, product.sku, product.name, product.description) == (product_id("MUG"), "MUG", "Mug", "Blue")
    assert (product.price, product.published, product.category_ids) == (GBP_2_55, True, ())


@pytest.mark.parametrize(
    "change",
    [
        {"sku": "x" * SKU_LENGTH_MAX},
        {"name": "x" * NAME_LENGTH_MAX},
        {"description": "x" * DESCRIPTION_LENGTH_MAX},
        {"price": Money(1, "GBP")},
    ],
)
def test_values_at_their_bounds_are_good(change: dict[str, object]) -> None:
    ((name, value),) = change.items()
    assert getattr(add(**change), name) == value


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sku": ""}, "sku"),
        ({"sku": "x" * (SKU_LENGTH_MAX + 1)}, "sku"),
        ({"sku": "a\0"}, "sku"),
        ({"name": " "}, "name"),
        ({"name": "x" * (NAME_LENGTH_MAX + 1)}, "name"),
        ({"description": "x" * (DESCRIPTION_LENGTH_MAX + 1)}, "description"),
        ({"price": Money(0, "GBP")}, "price"),
        ({"price": Money(-1, "GBP")}, "price"),
    ],
)
def test_values_outside_their_bounds_are_invalid(change: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        add(**change)
    assert refused.value.field == (field,)


def test_a_sku_keeps_its_case() -> None:
    assert valid_sku(" Mug ") == "Mug"


def updated(**changed: Any) -> Told:
    return ("product.updated", {"name": None, "description": None, "category_ids": None} | changed)


def repriced(before: int, after: int) -> Told:
    return (
        "product.repriced",
        {"from": {"minor": before, "currency": "GBP"}, "to": {"minor": after, "currency": "GBP"}},
    )


# What was decided before, what is decided now, what it says.
RECORDED: dict[str, tuple[list[Decision], Decision, list[Told]]] = {
    "a published one is withdrawn": (PUBLISHED, ("withdraw", {}), [("product.withdrawn", {})]),
    "a published one is published": (PUBLISHED, ("publish", {}), []),
    "a withdrawn one is published": (WITHDRAWN, ("publish", {}), [("product.published", {})]),
    "a withdrawn one is withdrawn": (WITHDRAWN, ("withdraw", {}), []),
    "a published one is repriced": (PUBLISHED, CHEAPER, [repriced(255, 199)]),
    "a withdrawn one is repriced": (WITHDRAWN, CHEAPER, [repriced(255, 199)]),
    "the same price": (PUBLISHED, ("reprice", {"price": GBP_2_55}), []),
    "the new price again": ([CHEAPER], CHEAPER, []),
    "the old price again": ([CHEAPER], ("reprice", {"price": GBP_2_55}), [repriced(199, 255)]),
    "the lowest price": (PUBLISHED, ("reprice", {"price": Money(1, "GBP")}), [repriced(255, 1)]),
    "a new name": (PUBLISHED, ("update", {"name": " Cup "}), [updated(name="Cup")]),
    "a withdrawn one's new name": (WITHDRAWN, ("update", {"name": "Cup"}), [updated(name="Cup")]),
    "the same name": (PUBLISHED, ("update", {"name": " Mug "}), []),
    "the new name again": ([("update", {"name": "Cup"})], ("update", {"name": "Cup"}), []),
    "a new description": (PUBLISHED, ("update", {"description": "Blue"}), [updated(description="Blue")]),
    "no description any more": (
        [("update", {"description": "Blue"})],
        ("update", {"description": " "}),
        [updated(description="")],
    ),
    "new categories": (
        PUBLISHED,
        ("update", {"category_ids": [CUPS, GIFTS, CUPS]}),
        [updated(category_ids=[str(CUPS), str(GIFTS)])],
    ),
    "the same categories": (
        [("update", {"category_ids": [CUPS]})],
        ("update", {"category_ids": [CUPS, CUPS]}),
        [],
    ),
    "no categories any more": (
        [("update", {"category_ids": [CUPS]})],
        ("update", {"category_ids": []}),
        [updated(category_ids=[])],
    ),
    "only what is new is told": (
        PUBLISHED,
        ("update", {"name": "Mug", "description": "Blue", "category_ids": []}),
        [updated(description="Blue")],
    ),
    "nothing is wished": (PUBLISHED, ("update", {}), []),
}


@pytest.mark.parametrize(("before", "now", "says"), RECORDED.values(), ids=RECORDED)
def test_a_decision_records_what_it_changes(before: list[Decision], now: Decision, says: list[Told]) -> None:
    product = decide(add(), *before)
    product.collect_events()
    assert told(decide(product, now)) == says


REFUSED: dict[str, tuple[list[Decision], Decision, str, str]] = {
    "a price of nothing": (PUBLISHED, ("reprice", {"price": Money(0, "GBP")}), "price", "not above zero"),
    "a price below nothing": (WITHDRAWN, ("reprice", {"price": Money(-1, "GBP")}), "price", "not above zero"),
    "another currency": (PUBLISHED, ("reprice", {"price": Money(255, "EUR")}), "price", "priced in GBP, not EUR"),
    "no name": (PUBLISHED, ("update", {"name": " "}), "name", "0 characters"),
    "too long a name": (PUBLISHED, ("update", {"name": "x" * (NAME_LENGTH_MAX + 1)}), "name", "201 characters"),
    "too long a description": (
        WITHDRAWN,
        ("update", {"description": "x" * (DESCRIPTION_LENGTH_MAX + 1)}),
        "description",
        "10001 characters",
    ),
    "too many categories": (
        PUBLISHED,
        ("update", {"category_ids": [UUID(int=number) for number in range(PRODUCT_CATEGORIES_MAX + 1)]}),
        "categoryIds",
        "51 categories",
    ),
}


@pytest.mark.parametrize(("before", "now", "field", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_decision_records_nothing(before: list[Decision], now: Decision, field: str, message: str) -> None:
    product = decide(add(), *before)
    product.collect_events()
    with pytest.raises(Invalid, match=message) as refused:
        decide(product, now)
    assert refused.value.field[0] == field
    assert told(product) == []


def test_a_product_may_be_in_as_many_categories_as_are_allowed() -> None:
    ids = tuple(UUID(int=number) for number in range(PRODUCT_CATEGORIES_MAX))
    assert add(category_ids=ids).category_ids == ids


def test_a_category_named_twice_is_one() -> None:
    assert add(category_ids=[CUPS, GIFTS, CUPS]).category_ids == (CUPS, GIFTS)
