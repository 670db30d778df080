"""The catalogue's tree: add categories, move and describe them, take them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from commands.handling import Result, Work, require_version
from domain.catalogue import Category, SlugClaim, valid_slug
from domain.disclosure import Plain
from domain.errors import Invalid, NotFound
from domain.identity import CategoryId, slug_claim_id

ANCESTORS_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCategory:
    """Put a category into the tree, at its top without a parent."""

    name: Plain
    slug: Plain
    description: Plain = ""
    parent_id: CategoryId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCategory:
    """Describe a category anew, or move it with all that is below it; None leaves a thing as it is."""

    category_id: CategoryId
    name: Plain | None = None
    description: Plain | None = None
    parent_id: CategoryId | None = None
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveCategory:
    """Take a category out of the tree. Those below it stay, and show no parent."""

    category_id: CategoryId


async def add_category(command: AddCategory, work: Work) -> Result:
    """Raises AlreadyExists for a taken slug, NotFound for an unknown parent, Invalid for values that break a rule.

    A slug that a removed category had can be taken again."""
    category_id = CategoryId(work.ports.ids.new())
    slug = valid_slug(command.slug)
    category = Category.add(
        category_id=category_id,
        name=command.name,
        slug=slug,
        description=command.description,
        parent_id=command.parent_id,
        now=work.now,
    )
    claim = await work.load(SlugClaim, slug_claim_id(slug))
    if claim is None:
        work.add(SlugClaim.claim(claim_id=slug_claim_id(slug), category_id=category_id, now=work.now))
    else:
        claim.reclaim(category_id=category_id, now=work.now)
    await _require_parent(category_id, command.parent_id, work)
    return Result(work.add(category))


async def update_category(command: UpdateCategory, work: Work) -> Result:
    """Raises NotFound for an unknown category or parent, Conflict for another version, IllegalTransition for a
    removed category, Invalid for a parent that is below it or too deep. What is above it already is not asked."""
    category = await required_category(command.category_id, work)
    require_version(category, command.expected_version)
    moves = command.parent_id != category.parent_id
    category.update(name=command.name, description=command.description, parent_id=command.parent_id, now=work.now)
    if moves:
        await _require_parent(command.category_id, command.parent_id, work)
    return Result(category)


async def remove_category(command: RemoveCategory, work: Work) -> Result:
    """Raises NotFound. Frees the slug in the same save; nothing happens when it is removed."""
    category = await required_category(command.category_id, work)
    category.remove(now=work.now)
    claim = await work.load(SlugClaim, slug_claim_id(category.slug))
    assert claim is not None, category.slug
    claim.release(category_id=command.category_id, now=work.now)
    return Result(category)


async def required_category(category_id: CategoryId, work: Work) -> Category:
    """Raises NotFound; a removed one is found."""
    category = await work.load(Category, category_id)
    if category is None:
        raise NotFound(f"There is no category {category_id}.", field=("categoryId",))
    return category


async def _require_parent(category_id: CategoryId, parent_id: CategoryId | None, work: Work) -> None:
    """Walks up from the wanted parent. Raises NotFound when it does not exist or was removed, Invalid when the
    category is above it, or more than ANCESTORS_MAX are.

    Two moves at once, each below the other, do not see each other: the circle they make is bounded here and in the
    depth of a query, and moving either elsewhere opens it."""
    wanted = parent_id
    for _ in range(ANCESTORS_MAX):
        if wanted is None:
            return
        if wanted == category_id:
            raise Invalid(f"The category {parent_id} is below this one; choose another parent.", field=("parentId",))
        ancestor = await work.load(Category, wanted)
        if ancestor is None or (ancestor.removed and wanted == parent_id):
            raise NotFound(f"There is no category {wanted}; choose another parent.", field=("parentId",))
        wanted = ancestor.parent_id
    if wanted is not None:
        raise Invalid(
            f"The category {parent_id} is too deep: more than {ANCESTORS_MAX} would be above this one.",
            field=("parentId",),
        )
