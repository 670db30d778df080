"""Random decisions about one product, beside a model of plain values."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.catalogue import Product
from domain.errors import Invalid
from domain.money import Money
from tests.given import GBP_2_55, NOW, replayed

few_names = st.sampled_from(["Mug", "Cup", "Pot"])
few_texts = st.sampled_from(["", "Blue", "Holds\n250 ml"])
few_ids = st.lists(st.sampled_from([UUID(int=number) for number in range(1, 4)]), max_size=4)


class Life(RuleBasedStateMachine):
    """`wanted` is what the product should be."""

    def __init__(self) -> None:
        super().__init__()
        self.product = Product.add(sku="MUG", name="Mug", description="", price=GBP_2_55, published=True, now=NOW)
        self.events = list(self.product.collect_events())
        self.wanted: dict[str, Any] = {
            "name": "Mug",
            "description": "",
            "price": GBP_2_55,
            "category_ids": (),
            "published": True,
        }

    def _expect(self, **wanted: Any) -> None:
        """One event when this is new, none when it is so already."""
        events = self.product.collect_events()
        assert len(events) == (self.wanted | wanted != self.wanted)
        self.events += events
        self.wanted |= wanted

    @rule(name=st.none() | few_names, description=st.none() | few_texts, category_ids=st.none() | few_ids)
    def update(self, name: str | None, description: str | None, category_ids: list[UUID] | None) -> None:
        self.product.update(name=name, description=description, category_ids=category_ids, now=NOW)
        ids = None if category_ids is None else tuple(dict.fromkeys(category_ids))
        given = {"name": name, "description": description, "category_ids": ids}
        self._expect(**{what: value for what, value in given.items() if value is not None})

    @rule(minor=st.integers(1, 3))
    def reprice(self, minor: int) -> None:
        self.product.reprice(price=Money(minor, "GBP"), now=NOW)
        self._expect(price=Money(minor, "GBP"))

    @rule(price=st.sampled_from([Money(0, "GBP"), Money(5, "EUR")]))
    def reprice_wrongly(self, price: Money) -> None:
        try:
            self.product.reprice(price=price, now=NOW)
        except Invalid:
            self._expect()
        else:
            raise AssertionError(price)

    @rule()
    def publish(self) -> None:
        self.product.publish(now=NOW)
        self._expect(published=True)

    @rule()
    def withdraw(self) -> None:
        self.product.withdraw(now=NOW)
        self._expect(published=False)

    @invariant()
    def it_is_what_was_wanted(self) -> None:
        assert {what: getattr(self.product, what) for what in self.wanted} == self.wanted

    @invariant()
    def what_was_stored_makes_the_same_product(self) -> None:
        again = replayed(self.events)
        assert {what: getattr(again, what) for what in self.wanted} == self.wanted
        assert (again.id, again.sku, again.version) == (self.product.id, "MUG", self.product.version)

    @invariant()
    def versions_have_no_holes(self) -> None:
        assert [event.originator_version for event in self.events] == list(range(1, self.product.version + 1))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
