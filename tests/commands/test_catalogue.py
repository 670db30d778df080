"""Adding products."""

from __future__ import annotations

import pytest

from commands.catalogue import AddProduct
from domain.catalogue import SKU_LENGTH_MAX
from domain.errors import AlreadyExists, Invalid
from domain.identity import product_id
from domain.money import Money
from tests.given import GBP_2_55, STAFF, InMemory


def add(**more: object) -> AddProduct:
    return AddProduct(**({"sku": "MUG", "name": "Mug", "price": GBP_2_55} | more))


async def test_a_product_is_added_under_the_id_of_its_trimmed_sku() -> None:
    kontor = InMemory()
    outcome = await kontor.execute(add(sku=" MUG "), STAFF)
    assert outcome.aggregate_id == product_id("MUG")
    product = await kontor.loaded(outcome.aggregate_id)
    assert (product.sku, product.name, product.description) == ("MUG", "Mug", "")
    assert (product.price, product.published, product.category_ids) == (GBP_2_55, True, ())


@pytest.mark.parametrize("sku", ["MUG", " MUG\t"])
async def test_a_sku_is_taken_once(sku: str) -> None:
    kontor = InMemory()
    await kontor.execute(add(), STAFF)
    with pytest.raises(AlreadyExists) as refused:
        await kontor.execute(add(sku=sku, name="Other"), STAFF)
    assert refused.value.field == ("sku",)
    assert kontor.store.event_types == ["product.added"]


async def test_the_case_of_a_sku_matters() -> None:
    kontor = InMemory()
    await kontor.execute(add(), STAFF)
    await kontor.execute(add(sku="mug"), STAFF)
    assert kontor.store.event_types == ["product.added"] * 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sku": " "}, "sku"),
        ({"sku": "x" * (SKU_LENGTH_MAX + 1)}, "sku"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"description": "x" * 10_001}, "description"),
        ({"price": Money(0, "GBP")}, "price"),
    ],
)
async def test_a_value_that_breaks_a_rule_adds_nothing(change: dict[str, object], field: str) -> None:
    kontor = InMemory()
    with pytest.raises(Invalid) as refused:
        await kontor.execute(add(**change), STAFF)
    assert refused.value.field == (field,)
    assert kontor.store.stored == []
