"""What is for sale: products, each with one SKU and one price, in categories, each with one slug."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain
from domain.errors import AlreadyExists, IllegalTransition, Invalid
from domain.identity import CategoryId, SlugClaimId, product_id
from domain.money import Money
from domain.text import plain_text

SKU_LENGTH_MAX: Final = 64
NAME_LENGTH_MAX: Final = 200
DESCRIPTION_LENGTH_MAX: Final = 10_000
SLUG_LENGTH_MAX: Final = 80
PRODUCT_CATEGORIES_MAX: Final = 50
_SLUG: Final = re.compile("[a-z0-9-]+")
T = TypeVar("T")


class Product(Aggregate):
    """A product; its id is derived from its SKU, so a SKU exists once."""

    TOPIC = "product"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "product.added"
        AUDIENCE = Audience.BUSINESS
        sku: Plain
        name: Plain
        description: Plain
        price: Money
        category_ids: tuple[UUID, ...]
        published: bool

        def apply(self, aggregate: Product) -> None:
            aggregate.sku, aggregate.name, aggregate.description = self.sku, self.name, self.description
            aggregate.price, aggregate.category_ids = self.price, self.category_ids
            aggregate.published = self.published

    class Updated(Aggregate.Event):
        """What changed; None is what did not."""

        TOPIC = "product.updated"
        AUDIENCE = Audience.BUSINESS
        name: Plain | None
        description: Plain | None
        category_ids: tuple[UUID, ...] | None

        def apply(self, aggregate: Product) -> None:
            if self.name is not None:
                aggregate.name = self.name
            if self.description is not None:
                aggregate.description = self.description
            if self.category_ids is not None:
                aggregate.category_ids = self.category_ids

    class Repriced(Aggregate.Event):
        TOPIC = "product.repriced"
        AUDIENCE = Audience.BUSINESS
        from_: Money  # stored as `from`, which no Python field can be called
        to: Money

        def apply(self, aggregate: Product) -> None:
            aggregate.price = self.to

    class Published(Aggregate.Event):
        TOPIC = "product.published"
        AUDIENCE = Audience.BUSINESS

        def apply(self, aggregate: Product) -> None:
            aggregate.published = True

    class Withdrawn(Aggregate.Event):
        TOPIC = "product.withdrawn"
        AUDIENCE = Audience.BUSINESS

        def apply(self, aggregate: Product) -> None:
            aggregate.published = False

    sku: str
    name: str
    description: str
    price: Money
    category_ids: tuple[UUID, ...]
    published: bool

    def __init__(self) -> None:
        """State comes from events alone; see `Created.apply`."""

    @classmethod
    def add(
        cls,
        *,
        sku: str,
        name: str,
        description: str,
        price: Money,
        published: bool,
        now: datetime,
        category_ids: Sequence[UUID] = (),
    ) -> Product:
        """A new product. Raises Invalid for an empty or over-long SKU, name or description, a price of zero, or
        more than PRODUCT_CATEGORIES_MAX categories; whether these exist, the caller has asked."""
        sku = valid_sku(sku)
        return cls._create(
            cls.Created,
            id=product_id(sku),
            timestamp=now,
            sku=sku,
            name=_name(name),
            description=_description(description),
            price=_price(price),
            category_ids=_category_ids(category_ids),
            published=published,
        )

    def update(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        category_ids: Sequence[UUID] | None = None,
        now: datetime,
    ) -> None:
        """Change what is given; nothing happens when all of it is so already. Raises Invalid like `add`."""
        new_name = _changed(self.name, None if name is None else _name(name))
        new_description = _changed(self.description, None if description is None else _description(description))
        new_ids = _changed(self.category_ids, None if category_ids is None else _category_ids(category_ids))
        if (new_name, new_description, new_ids) != (None, None, None):
            self.trigger_event(
                self.Updated, timestamp=now, name=new_name, description=new_description, category_ids=new_ids
            )

    def reprice(self, *, price: Money, now: datetime) -> None:
        """Sell at another price from now on; nothing happens when it is the price already.

        Raises Invalid for a price of zero, or one in another currency: orders and facets compare prices."""
        _price(price)
        if price.currency != self.price.currency:
            raise Invalid(
                f"{self.sku} is priced in {self.price.currency}, not {price.currency}; give a price in "
                f"{self.price.currency}.",
                field=("price", "currency"),
            )
        if price != self.price:
            self.trigger_event(self.Repriced, timestamp=now, from_=self.price, to=price)

    def publish(self, *, now: datetime) -> None:
        """Let customers see and order it; nothing happens when they can already."""
        if not self.published:
            self.trigger_event(self.Published, timestamp=now)

    def withdraw(self, *, now: datetime) -> None:
        """Hide it from customers; orders that were placed stay. Nothing happens when it is hidden already."""
        if self.published:
            self.trigger_event(self.Withdrawn, timestamp=now)


class Category(Aggregate):
    """A place in the catalogue's tree.

    A category does not know its children: when it is removed they keep its id as their parent, and show none."""

    TOPIC = "category"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "category.added"
        AUDIENCE = Audience.BUSINESS
        name: Plain
        slug: Plain
        description: Plain
        parent_id: UUID | None

        def apply(self, aggregate: Category) -> None:
            aggregate.name, aggregate.slug, aggregate.description = self.name, self.slug, self.description
            aggregate.parent_id = None if self.parent_id is None else CategoryId(self.parent_id)
            aggregate.removed = False

    class Updated(Aggregate.Event):
        """What changed; None is what did not. A slug is for ever, and a category that has a parent keeps having one."""

        TOPIC = "category.updated"
        AUDIENCE = Audience.BUSINESS
        name: Plain | None
        description: Plain | None
        parent_id: UUID | None

        def apply(self, aggregate: Category) -> None:
            if self.name is not None:
                aggregate.name = self.name
            if self.description is not None:
                aggregate.description = self.description
            if self.parent_id is not None:
                aggregate.parent_id = CategoryId(self.parent_id)

    class Removed(Aggregate.Event):
        TOPIC = "category.removed"
        AUDIENCE = Audience.BUSINESS
        slug: Plain

        def apply(self, aggregate: Category) -> None:
            aggregate.removed = True

    name: str
    slug: str
    description: str
    parent_id: CategoryId | None
    removed: bool

    def __init__(self) -> None:
        """State comes from events alone; see `Created.apply`."""

    @classmethod
    def add(
        cls,
        *,
        category_id: CategoryId,
        name: str,
        slug: str,
        description: str,
        parent_id: CategoryId | None,
        now: datetime,
    ) -> Category:
        """A new category. Raises Invalid for an empty or over-long name or description, or a slug that is none.

        Whether the parent exists, and whether the slug is free, the caller has asked."""
        return cls._create(
            cls.Created,
            id=category_id,
            timestamp=now,
            name=_name(name),
            slug=valid_slug(slug),
            description=_description(description),
            parent_id=parent_id,
        )

    def update(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        parent_id: CategoryId | None = None,
        now: datetime,
    ) -> None:
        """Change what is given; nothing happens when all of it is so already.

        Raises IllegalTransition for a removed category, Invalid like `add`, or for itself as parent; that
        the parent exists and is none of those below, the caller has asked."""
        if self.removed:
            raise IllegalTransition(f"category {self.slug} is REMOVED; only an ACTIVE category can be updated.")
        if parent_id == self.id:
            raise Invalid(f"{self.slug} cannot be its own parent; choose another.", field=("parentId",))
        new_name = _changed(self.name, None if name is None else _name(name))
        new_description = _changed(self.description, None if description is None else _description(description))
        new_parent = _changed(self.parent_id, parent_id)
        if (new_name, new_description, new_parent) != (None, None, None):
            self.trigger_event(
                self.Updated, timestamp=now, name=new_name, description=new_description, parent_id=new_parent
            )

    def remove(self, *, now: datetime) -> None:
        """Take it out of the catalogue; a removed category stays as it is. The caller releases the slug with it."""
        if not self.removed:
            self.trigger_event(self.Removed, timestamp=now, slug=self.slug)


class SlugClaim(Aggregate):
    """Makes a slug unique: its id is derived from the slug, so of two claims at once one is a conflict."""

    TOPIC = "slug"

    class Created(Aggregate.Created):
        TOPIC = "slug.claimed"
        AUDIENCE = Audience.BUSINESS
        category_id: UUID

        def apply(self, aggregate: SlugClaim) -> None:
            aggregate.category_id = CategoryId(self.category_id)

    class Released(Aggregate.Event):
        TOPIC = "slug.released"
        AUDIENCE = Audience.BUSINESS

        def apply(self, aggregate: SlugClaim) -> None:
            aggregate.category_id = None

    class Reclaimed(Aggregate.Event):
        TOPIC = "slug.reclaimed"
        AUDIENCE = Audience.BUSINESS
        category_id: UUID

        def apply(self, aggregate: SlugClaim) -> None:
            aggregate.category_id = CategoryId(self.category_id)

    category_id: CategoryId | None

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def claim(cls, *, claim_id: SlugClaimId, category_id: CategoryId, now: datetime) -> SlugClaim:
        """The first claim on a slug."""
        return cls._create(cls.Created, id=claim_id, timestamp=now, category_id=category_id)

    def reclaim(self, *, category_id: CategoryId, now: datetime) -> None:
        """Take a slug that was released; nothing happens when the category has it already.

        Raises AlreadyExists when another has it."""
        if self.category_id is None:
            self.trigger_event(self.Reclaimed, timestamp=now, category_id=category_id)
        elif self.category_id != category_id:
            raise AlreadyExists(
                f"The category {self.category_id} has this slug; update it or choose another slug.", field=("slug",)
            )

    def release(self, *, category_id: CategoryId, now: datetime) -> None:
        """Give the slug up; nothing happens when the category does not have it."""
        if self.category_id == category_id:
            self.trigger_event(self.Released, timestamp=now)


def valid_sku(sku: str) -> str:
    """The trimmed SKU; case is kept and matters. Raises Invalid when it cannot be one."""
    return plain_text(sku, field="sku", length_max=SKU_LENGTH_MAX)


def valid_slug(slug: str) -> str:
    """The trimmed slug. Raises Invalid for anything but 1 to SLUG_LENGTH_MAX of a-z, 0-9 and hyphen."""
    slug = plain_text(slug, field="slug", length_max=SLUG_LENGTH_MAX)
    if not _SLUG.fullmatch(slug):
        raise Invalid(f"slug {slug!r} may hold only a-z, 0-9 and hyphens, like tea-towels.", field=("slug",))
    return slug


def _name(name: str) -> str:
    return plain_text(name, field="name", length_max=NAME_LENGTH_MAX)


def _description(description: str) -> str:
    return plain_text(description, field="description", length_max=DESCRIPTION_LENGTH_MAX, length_min=0)


def _price(price: Money) -> Money:
    if price.minor <= 0:
        raise Invalid(f"price {price.amount} {price.currency} is not above zero.", field=("price",))
    return price


def _category_ids(category_ids: Sequence[UUID]) -> tuple[UUID, ...]:
    """Each once, in their order."""
    if len(category_ids) > PRODUCT_CATEGORIES_MAX:
        raise Invalid(
            f"{len(category_ids)} categories; a product is in {PRODUCT_CATEGORIES_MAX} at most.", field=("categoryIds",)
        )
    return tuple(dict.fromkeys(category_ids))


def _changed(before: T, wanted: T | None) -> T | None:
    return None if wanted == before else wanted
