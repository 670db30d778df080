"""Categories: a tree without circles, a slug only once at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from adapters.memory import memory_ports
from commands.categories import ANCESTORS_MAX, AddCategory, RemoveCategory, UpdateCategory
from commands.handling import ANONYMOUS
from domain.catalogue import Category
from domain.errors import (
    AlreadyExists,
    Conflict,
    DomainError,
    Forbidden,
    IdempotencyKeyMismatch,
    IllegalTransition,
    Invalid,
    NotFound,
    Unauthenticated,
)
from domain.identity import CategoryId, slug_claim_id
from tests.commands.test_handling import BusyStore
from tests.given import CUSTOMER, STAFF, InMemory

NOBODY = CategoryId(UUID(int=0xBAD))


async def added(kontor: InMemory, slug: str = "cups", parent_id: CategoryId | None = None) -> CategoryId:
    command = AddCategory(name=slug.title(), slug=slug, parent_id=parent_id)
    return CategoryId((await kontor.execute(command, STAFF)).aggregate_id)


async def moved(kontor: InMemory, category_id: CategoryId, parent_id: CategoryId) -> None:
    await kontor.execute(UpdateCategory(category_id=category_id, parent_id=parent_id), STAFF)


async def chain(kontor: InMemory, length: int) -> list[CategoryId]:
    """Categories from the top down, each below the one before."""
    ids: list[CategoryId] = []
    for number in range(length):
        ids.append(await added(kontor, f"level-{number}", ids[-1] if ids else None))
    return ids


async def test_a_category_is_added_with_the_claim_on_its_slug() -> None:
    kontor = InMemory()
    home = await added(kontor, "home")
    command = AddCategory(name=" Cups ", slug=" cups ", description="Blue", parent_id=home)
    category: Category = await kontor.loaded((await kontor.execute(command, STAFF)).aggregate_id)
    assert (category.name, category.slug, category.description) == ("Cups", "cups", "Blue")
    assert (category.parent_id, category.removed) == (home, False)
    assert (await kontor.loaded(slug_claim_id("cups"))).category_id == category.id
    assert sorted(kontor.store.event_types[2:]) == ["category.added", "slug.claimed"]
    assert len(kontor.store.appends) == 2


@pytest.mark.parametrize("slug", ["cups", " cups\t"])
async def test_a_slug_is_taken_once(slug: str) -> None:
    kontor = InMemory()
    await added(kontor)
    stored = len(kontor.store.stored)
    with pytest.raises(AlreadyExists) as refused:
        await added(kontor, slug)
    assert (refused.value.field, len(kontor.store.stored)) == (("slug",), stored)


async def test_of_two_who_add_the_same_slug_at_once_one_has_it() -> None:
    kontor = InMemory(replace(memory_ports(), store=BusyStore()))
    answers = await asyncio.gather(*(added(kontor) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, AlreadyExists) for answer in answers) == 7
    assert kontor.store.event_types.count("category.added") == 1


async def test_a_removed_category_leaves_its_slug_to_the_next() -> None:
    kontor = InMemory()
    first = await added(kontor)
    await kontor.execute(RemoveCategory(category_id=first), STAFF)
    assert sorted(kontor.store.event_types[2:]) == ["category.removed", "slug.released"]
    assert len(kontor.store.appends) == 2
    second = await added(kontor)
    assert (await kontor.loaded(slug_claim_id("cups"))).category_id == second
    assert sorted(kontor.store.event_types[4:]) == ["category.added", "slug.reclaimed"]
    await kontor.execute(RemoveCategory(category_id=first), STAFF)
    assert (await kontor.loaded(slug_claim_id("cups"))).category_id == second


async def test_removing_twice_is_removing_once() -> None:
    kontor = InMemory()
    cups = await added(kontor)
    await kontor.execute(RemoveCategory(category_id=cups), STAFF)
    stored = len(kontor.store.stored)
    outcome = await kontor.execute(RemoveCategory(category_id=cups), STAFF)
    assert (outcome.version, len(kontor.store.stored)) == (2, stored)


async def test_those_below_a_removed_category_keep_its_id() -> None:
    kontor = InMemory()
    home, cups = await chain(kontor, 2)
    await kontor.execute(RemoveCategory(category_id=home), STAFF)
    assert (await kontor.loaded(cups)).parent_id == home
    await kontor.execute(UpdateCategory(category_id=cups, name="Mugs", parent_id=home), STAFF)
    assert (await kontor.loaded(cups)).name == "Mugs"
    garden = await added(kontor, "garden")
    await moved(kontor, cups, garden)
    assert (await kontor.loaded(cups)).parent_id == garden


async def test_an_update_changes_what_is_given_and_repeating_it_nothing() -> None:
    kontor = InMemory()
    cups = await added(kontor)
    command = UpdateCategory(category_id=cups, name="Mugs", expected_version=1)
    assert (await kontor.execute(command, STAFF)).version == 2
    stored = len(kontor.store.stored)
    again = await kontor.execute(replace(command, expected_version=2), STAFF)
    assert (again.version, len(kontor.store.stored)) == (2, stored)
    category = await kontor.loaded(cups)
    assert (category.name, category.slug, category.description) == ("Mugs", "cups", "")


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"slug": "Cups"}, Invalid, "slug"),
        ({"name": " "}, Invalid, "name"),
        ({"description": "x" * 10_001}, Invalid, "description"),
        ({"parent_id": NOBODY}, NotFound, "parentId"),
    ],
)
async def test_a_category_that_breaks_a_rule_is_not_added(
    change: dict[str, Any], error: type[DomainError], field: str
) -> None:
    kontor = InMemory()
    with pytest.raises(error) as refused:
        await kontor.execute(AddCategory(**({"name": "Cups", "slug": "cups"} | change)), STAFF)
    assert (refused.value.field, kontor.store.stored) == ((field,), [])


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"name": ""}, Invalid, "name"),
        ({"description": "x" * 10_001}, Invalid, "description"),
        ({"parent_id": NOBODY}, NotFound, "parentId"),
        ({"category_id": NOBODY}, NotFound, "categoryId"),
        ({"expected_version": 2}, Conflict, "expectedVersion"),
    ],
)
async def test_an_update_that_breaks_a_rule_changes_nothing(
    change: dict[str, Any], error: type[DomainError], field: str
) -> None:
    kontor = InMemory()
    cups = await added(kontor)
    stored = len(kontor.store.stored)
    with pytest.raises(error) as refused:
        await kontor.execute(UpdateCategory(**({"category_id": cups, "name": "Mugs"} | change)), STAFF)
    assert (refused.value.field, len(kontor.store.stored)) == ((field,), stored)


async def test_a_removed_category_is_neither_updated_nor_a_parent() -> None:
    kontor = InMemory()
    cups, home = await added(kontor), await added(kontor, "home")
    await kontor.execute(RemoveCategory(category_id=home), STAFF)
    with pytest.raises(IllegalTransition, match="home is REMOVED"):
        await moved(kontor, home, cups)
    with pytest.raises(NotFound) as refused:
        await moved(kontor, cups, home)
    assert refused.value.field == ("parentId",)
    with pytest.raises(NotFound):
        await added(kontor, "mugs", home)


async def test_an_unknown_category_cannot_be_removed() -> None:
    with pytest.raises(NotFound) as refused:
        await InMemory().execute(RemoveCategory(category_id=NOBODY), STAFF)
    assert refused.value.field == ("categoryId",)


@pytest.mark.parametrize("below", [0, 1, 2, 5])
async def test_nothing_is_above_itself(below: int) -> None:
    kontor = InMemory()
    ids = await chain(kontor, below + 1)
    with pytest.raises(Invalid) as refused:
        await moved(kontor, ids[0], ids[below])
    assert refused.value.field == ("parentId",)
    assert (await kontor.loaded(ids[0])).parent_id is None


async def test_nothing_is_above_itself_through_a_removed_category() -> None:
    kontor = InMemory()
    top, middle, bottom = await chain(kontor, 3)
    await kontor.execute(RemoveCategory(category_id=middle), STAFF)
    with pytest.raises(Invalid):
        await moved(kontor, top, bottom)


async def test_a_category_has_at_most_so_many_above_it() -> None:
    kontor = InMemory()
    ids = await chain(kontor, ANCESTORS_MAX + 1)
    with pytest.raises(Invalid, match="more than 10") as refused:
        await added(kontor, "one-too-deep", ids[-1])
    assert refused.value.field == ("parentId",)
    beside = await added(kontor, "beside", ids[-2])
    with pytest.raises(Invalid):
        await moved(kontor, beside, ids[-1])


async def test_a_category_with_a_key_is_added_once() -> None:
    kontor = InMemory()
    command = AddCategory(name="Cups", slug="cups")
    first, again = await kontor.execute(command, STAFF, "k"), await kontor.execute(command, STAFF, "k")
    assert (again.aggregate_id, again.version, again.replayed) == (first.aggregate_id, 1, True)
    assert len(kontor.store.stored) == 2
    with pytest.raises(IdempotencyKeyMismatch):
        await kontor.execute(AddCategory(name="Mugs", slug="mugs"), STAFF, "k")


@pytest.mark.parametrize(
    "command",
    [
        AddCategory(name="Cups", slug="cups"),
        UpdateCategory(category_id=NOBODY, name="Cups"),
        RemoveCategory(category_id=NOBODY),
    ],
    ids=lambda command: type(command).__name__,
)
async def test_the_tree_is_for_staff(command: Any) -> None:
    kontor = InMemory()
    with pytest.raises(Forbidden):
        await kontor.execute(command, CUSTOMER)
    with pytest.raises(Unauthenticated):
        await kontor.execute(command, ANONYMOUS)
    assert kontor.store.stored == []
