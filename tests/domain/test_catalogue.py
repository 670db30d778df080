"""Products."""

from __future__ import annotations

import pytest

from domain.catalogue import DESCRIPTION_LENGTH_MAX, NAME_LENGTH_MAX, SKU_LENGTH_MAX, Product, valid_sku
from domain.errors import Invalid
from domain.identity import product_id
from domain.money import Money
from tests.given import GBP_2_55, NOW


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
