"""Categories and the claims on their slugs: every decision from every state."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain.catalogue import (
    DESCRIPTION_LENGTH_MAX,
    NAME_LENGTH_MAX,
    SLUG_LENGTH_MAX,
    Category,
    SlugClaim,
    valid_slug,
)
from domain.errors import AlreadyExists, DomainError, IllegalTransition, Invalid
from domain.identity import CategoryId, slug_claim_id
from tests.given import NOW, Decision, Told, decide, told

CUPS, GIFTS, HOME = (CategoryId(UUID(int=number)) for number in (0xC1, 0xC2, 0xC3))
ACTIVE: list[Decision] = []
REMOVED: list[Decision] = [("remove", {})]


def add(**more: Any) -> Category:
    given = {"category_id": CUPS, "name": "Cups", "slug": "cups", "description": "", "parent_id": HOME, "now": NOW}
    return Category.add(**(given | more))


def updated(**changed: Any) -> Told:
    return ("category.updated", {"name": None, "description": None, "parent_id": None} | changed)


# What was decided before, what is decided now, what it says.
RECORDED: dict[str, tuple[list[Decision], Decision, list[Told]]] = {
    "a new name": (ACTIVE, ("update", {"name": " Mugs "}), [updated(name="Mugs")]),
    "the same name": (ACTIVE, ("update", {"name": " Cups "}), []),
    "a new description": (ACTIVE, ("update", {"description": "Blue"}), [updated(description="Blue")]),
    "no description any more": (
        [("update", {"description": "Blue"})],
        ("update", {"description": ""}),
        [updated(description="")],
    ),
    "a new parent": (ACTIVE, ("update", {"parent_id": GIFTS}), [updated(parent_id=str(GIFTS))]),
    "the same parent": (ACTIVE, ("update", {"parent_id": HOME}), []),
    "only what is new is told": (
        ACTIVE,
        ("update", {"name": "Mugs", "description": "", "parent_id": HOME}),
        [updated(name="Mugs")],
    ),
    "nothing is wished": (ACTIVE, ("update", {}), []),
    "it is removed": (ACTIVE, ("remove", {}), [("category.removed", {"slug": "cups"})]),
    "it is removed again": (REMOVED, ("remove", {}), []),
}


@pytest.mark.parametrize(("before", "now", "says"), RECORDED.values(), ids=RECORDED)
def test_a_decision_records_what_it_changes(before: list[Decision], now: Decision, says: list[Told]) -> None:
    category = decide(add(), *before)
    category.collect_events()
    assert told(decide(category, now)) == says


REFUSED: dict[str, tuple[list[Decision], Decision, type[DomainError], str]] = {
    "itself as parent": (ACTIVE, ("update", {"parent_id": CUPS}), Invalid, "its own parent"),
    "no name": (ACTIVE, ("update", {"name": ""}), Invalid, "name has 0 characters"),
    "too long a name": (ACTIVE, ("update", {"name": "x" * (NAME_LENGTH_MAX + 1)}), Invalid, "name has 201"),
    "too long a description": (
        ACTIVE,
        ("update", {"description": "x" * (DESCRIPTION_LENGTH_MAX + 1)}),
        Invalid,
        "description has 10001",
    ),
    "a removed one's new name": (REMOVED, ("update", {"name": "Mugs"}), IllegalTransition, "REMOVED; only an ACTIVE"),
    "a removed one's same name": (REMOVED, ("update", {"name": "Cups"}), IllegalTransition, "REMOVED"),
    "a removed one's new parent": (REMOVED, ("update", {"parent_id": GIFTS}), IllegalTransition, "REMOVED"),
}


@pytest.mark.parametrize(("before", "now", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_decision_records_nothing(
    before: list[Decision], now: Decision, error: type[DomainError], message: str
) -> None:
    category = decide(add(), *before)
    category.collect_events()
    with pytest.raises(error, match=message):
        decide(category, now)
    assert told(category) == []


def test_a_category_is_what_it_was_added_as() -> None:
    category = add(name=" Cups ", slug=" cups ", description=" Blue ")
    assert (category.id, category.name, category.slug, category.description) == (CUPS, "Cups", "cups", "Blue")
    assert (category.parent_id, category.removed) == (HOME, False)
    assert add(parent_id=None).parent_id is None


@pytest.mark.parametrize("slug", ["a", "9", "-", "tea-towels-2", "x" * SLUG_LENGTH_MAX])
def test_a_slug_is_of_small_letters_digits_and_hyphens(slug: str) -> None:
    assert valid_slug(f" {slug} ") == slug


@pytest.mark.parametrize(
    "slug", ["", " ", "Cups", "tea towels", "tea_towels", "caf\u00e9", "a\nb", "x" * (SLUG_LENGTH_MAX + 1)]
)
def test_anything_else_is_no_slug(slug: str) -> None:
    with pytest.raises(Invalid) as refused:
        add(slug=slug)
    assert refused.value.field == ("slug",)


TAKEN: list[Decision] = []
FREE: list[Decision] = [("release", {"category_id": CUPS})]
CLAIMED: dict[str, tuple[list[Decision], Decision, list[Told]]] = {
    "its category releases it": (TAKEN, ("release", {"category_id": CUPS}), [("slug.released", {})]),
    "another releases it": (TAKEN, ("release", {"category_id": GIFTS}), []),
    "its category claims it again": (TAKEN, ("reclaim", {"category_id": CUPS}), []),
    "a free one is released": (FREE, ("release", {"category_id": CUPS}), []),
    "a free one is claimed": (
        FREE,
        ("reclaim", {"category_id": GIFTS}),
        [("slug.reclaimed", {"category_id": str(GIFTS)})],
    ),
    "its former category releases what another has": (
        [*FREE, ("reclaim", {"category_id": GIFTS})],
        ("release", {"category_id": CUPS}),
        [],
    ),
}


def claim() -> SlugClaim:
    return SlugClaim.claim(claim_id=slug_claim_id("cups"), category_id=CUPS, now=NOW)


@pytest.mark.parametrize(("before", "now", "says"), CLAIMED.values(), ids=CLAIMED)
def test_a_slug_belongs_to_one_category_at_a_time(before: list[Decision], now: Decision, says: list[Told]) -> None:
    claimed = decide(claim(), *before)
    claimed.collect_events()
    assert told(decide(claimed, now)) == says


def test_a_slug_that_another_category_has_is_taken() -> None:
    claimed = claim()
    claimed.collect_events()
    with pytest.raises(AlreadyExists, match="has this slug") as refused:
        claimed.reclaim(category_id=GIFTS, now=NOW)
    assert (refused.value.field, told(claimed)) == (("slug",), [])


def test_the_first_claim_says_whose_it_is() -> None:
    assert told(claim()) == [("slug.claimed", {"category_id": str(CUPS)})]
