"""Products: added, changed, put on sale and taken off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from commands.catalogue import AddProduct, PublishProduct, RepriceProduct, UpdateProduct, WithdrawProduct
from commands.categories import RemoveCategory
from commands.handling import ANONYMOUS
from domain.catalogue import PRODUCT_CATEGORIES_MAX, SKU_LENGTH_MAX
from domain.errors import AlreadyExists, Conflict, DomainError, Forbidden, Invalid, NotFound, Unauthenticated
from domain.identity import CategoryId, product_id
from domain.money import Money
from tests.commands.test_categories import NOBODY, added
from tests.given import CUSTOMER, GBP_2_55, STAFF, InMemory

MUG = product_id("MUG")
CHEAPER = Money(199, "GBP")


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


async def test_a_product_is_added_into_categories() -> None:
    kontor = InMemory()
    cups, gifts = await added(kontor), await added(kontor, "gifts")
    await kontor.execute(add(category_ids=(cups, gifts, cups)), STAFF)
    assert (await kontor.loaded(MUG)).category_ids == (cups, gifts)


async def test_a_product_is_not_added_into_a_category_that_is_not_there() -> None:
    kontor = InMemory()
    cups, gone = await added(kontor), await added(kontor, "gone")
    await kontor.execute(RemoveCategory(category_id=gone), STAFF)
    stored = len(kontor.store.stored)
    for category_id in (NOBODY, gone, CategoryId(product_id("MUG"))):
        with pytest.raises(NotFound) as refused:
            await kontor.execute(add(category_ids=(cups, category_id)), STAFF)
        assert refused.value.field == ("categoryIds",)
    assert len(kontor.store.stored) == stored


async def test_a_product_is_in_so_many_categories_at_most() -> None:
    kontor = InMemory()
    ids = tuple(CategoryId(UUID(int=number)) for number in range(PRODUCT_CATEGORIES_MAX + 1))
    with pytest.raises(Invalid) as refused:
        await kontor.execute(add(category_ids=ids), STAFF)
    assert refused.value.field == ("categoryIds",)


async def test_an_update_changes_what_is_given() -> None:
    kontor = InMemory()
    cups = await added(kontor)
    await kontor.product("MUG")
    await kontor.execute(UpdateProduct(product_id=MUG, description="Blue", category_ids=(cups,)), STAFF)
    product = await kontor.loaded(MUG)
    assert (product.name, product.description, product.category_ids) == ("The MUG", "Blue", (cups,))
    await kontor.execute(UpdateProduct(product_id=MUG, category_ids=()), STAFF)
    assert (await kontor.loaded(MUG)).category_ids == ()


async def test_a_product_keeps_a_category_that_was_removed_but_comes_into_none() -> None:
    kontor = InMemory()
    cups, gifts = await added(kontor), await added(kontor, "gifts")
    await kontor.execute(add(category_ids=(cups,)), STAFF)
    for category_id in (cups, gifts):
        await kontor.execute(RemoveCategory(category_id=category_id), STAFF)
    await kontor.execute(UpdateProduct(product_id=MUG, name="Cup", category_ids=(cups,)), STAFF)
    assert (await kontor.loaded(MUG)).name == "Cup"
    with pytest.raises(NotFound) as refused:
        await kontor.execute(UpdateProduct(product_id=MUG, category_ids=(cups, gifts)), STAFF)
    assert refused.value.field == ("categoryIds",)


async def test_a_new_price_is_that_of_the_next_order() -> None:
    kontor = InMemory()
    await kontor.product("MUG", units=9)
    customer = await kontor.customer()
    before = await kontor.placed(customer, ("MUG", 1))
    await kontor.execute(RepriceProduct(product_id=MUG, price=CHEAPER), STAFF)
    after = await kontor.placed(customer, ("MUG", 1))
    assert [(await kontor.order(each)).total for each in (before, after)] == [GBP_2_55, CHEAPER]


async def test_a_withdrawn_product_cannot_be_ordered_until_it_is_published() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    customer = await kontor.customer()
    await kontor.execute(WithdrawProduct(product_id=MUG), STAFF)
    with pytest.raises(NotFound):
        await kontor.placed(customer, ("MUG", 1))
    await kontor.execute(PublishProduct(product_id=MUG), STAFF)
    assert (await kontor.order(await kontor.placed(customer, ("MUG", 1)))).lines[0].sku == "MUG"


FULFILLED = [
    UpdateProduct(product_id=MUG, name="The MUG", description="", category_ids=()),
    UpdateProduct(product_id=MUG),
    RepriceProduct(product_id=MUG, price=GBP_2_55),
    PublishProduct(product_id=MUG),
]
CHANGES = [
    UpdateProduct(product_id=MUG, name="Cup"),
    RepriceProduct(product_id=MUG, price=CHEAPER),
    WithdrawProduct(product_id=MUG),
]


def name_of(command: object) -> str:
    return type(command).__name__


@pytest.mark.parametrize("command", FULFILLED, ids=name_of)
async def test_a_wish_that_is_fulfilled_changes_nothing(command: Any) -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    assert (await kontor.execute(command, STAFF)).version == 1
    assert kontor.store.event_types == ["product.added"]


@pytest.mark.parametrize("command", CHANGES, ids=name_of)
async def test_a_change_that_is_asked_for_twice_is_made_once(command: Any) -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    assert [(await kontor.execute(command, STAFF)).version for _ in range(2)] == [2, 2]
    assert len(kontor.store.stored) == 2


@pytest.mark.parametrize("command", CHANGES, ids=name_of)
async def test_a_change_with_a_key_is_answered_again(command: Any) -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    first, again = [await kontor.execute(command, STAFF, "k") for _ in range(2)]
    assert (first.version, first.replayed, again.version, again.replayed) == (2, False, 2, True)


@pytest.mark.parametrize(
    ("command", "error", "field"),
    [
        (UpdateProduct(product_id=MUG, name=" "), Invalid, "name"),
        (UpdateProduct(product_id=MUG, name="Cup", expected_version=2), Conflict, "expectedVersion"),
        (UpdateProduct(product_id=MUG, category_ids=(NOBODY,)), NotFound, "categoryIds"),
        (RepriceProduct(product_id=MUG, price=Money(0, "GBP")), Invalid, "price"),
        (RepriceProduct(product_id=MUG, price=Money(199, "EUR")), Invalid, "price"),
        (RepriceProduct(product_id=MUG, price=CHEAPER, expected_version=0), Conflict, "expectedVersion"),
    ],
)
async def test_a_change_that_breaks_a_rule_is_not_made(command: Any, error: type[DomainError], field: str) -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    with pytest.raises(error) as refused:
        await kontor.execute(command, STAFF)
    assert (refused.value.field[0], kontor.store.event_types) == (field, ["product.added"])


@pytest.mark.parametrize("command", [*CHANGES, PublishProduct(product_id=MUG)], ids=name_of)
async def test_an_unknown_product_is_not_changed(command: Any) -> None:
    kontor = InMemory()
    with pytest.raises(NotFound) as refused:
        await kontor.execute(command, STAFF)
    assert (refused.value.field, kontor.store.stored) == (("productId",), [])


@pytest.mark.parametrize("command", [*CHANGES, PublishProduct(product_id=MUG)], ids=name_of)
async def test_the_catalogue_is_for_staff(command: Any) -> None:
    kontor = InMemory()
    with pytest.raises(Forbidden):
        await kontor.execute(command, CUSTOMER)
    with pytest.raises(Unauthenticated):
        await kontor.execute(command, ANONYMOUS)


async def test_the_expected_version_is_the_one_that_was_seen() -> None:
    kontor = InMemory()
    await kontor.product("MUG")
    command = RepriceProduct(product_id=MUG, price=CHEAPER, expected_version=1)
    assert (await kontor.execute(command, STAFF)).version == 2
    with pytest.raises(Conflict, match="at version 2, not 1"):
        await kontor.execute(replace(command, price=GBP_2_55), STAFF)
