"""Random decisions about one category and the claim on its slug, beside a model of plain values."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.catalogue import Category, SlugClaim
from domain.errors import AlreadyExists, IllegalTransition, Invalid
from domain.identity import CategoryId, slug_claim_id
from tests.given import NOW, replayed

CUPS = CategoryId(UUID(int=1))
ids = st.sampled_from([CategoryId(UUID(int=number)) for number in range(1, 4)])
few_names = st.sampled_from(["Cups", "Mugs"])
few_texts = st.sampled_from(["", "Blue"])


class Life(RuleBasedStateMachine):
    """`wanted` is what the category should be, `owner` who should have the slug."""

    def __init__(self) -> None:
        super().__init__()
        self.category = Category.add(
            category_id=CUPS, name="Cups", slug="cups", description="", parent_id=None, now=NOW
        )
        self.claim = SlugClaim.claim(claim_id=slug_claim_id("cups"), category_id=CUPS, now=NOW)
        self.events = list(self.category.collect_events())
        self.claims = list(self.claim.collect_events())
        self.wanted: dict[str, Any] = {"name": "Cups", "description": "", "parent_id": None, "removed": False}
        self.owner: CategoryId | None = CUPS

    @rule(name=st.none() | few_names, description=st.none() | few_texts, parent_id=st.none() | ids)
    def update(self, name: str | None, description: str | None, parent_id: CategoryId | None) -> None:
        given = {"name": name, "description": description, "parent_id": parent_id}
        wanted = {what: value for what, value in given.items() if value is not None}
        try:
            self.category.update(name=name, description=description, parent_id=parent_id, now=NOW)
        except IllegalTransition:
            assert self.wanted["removed"]
            wanted = {}
        except Invalid:
            assert parent_id == CUPS
            wanted = {}
        else:
            assert not self.wanted["removed"]
            assert parent_id != CUPS
        self._expect(wanted)

    @rule()
    def remove(self) -> None:
        self.category.remove(now=NOW)
        self._expect({"removed": True})

    def _expect(self, wanted: dict[str, Any]) -> None:
        """One event when this is new, none when it is so already."""
        events = self.category.collect_events()
        assert len(events) == (self.wanted | wanted != self.wanted)
        self.events += events
        self.wanted |= wanted

    @rule(category_id=ids)
    def reclaim(self, category_id: CategoryId) -> None:
        try:
            self.claim.reclaim(category_id=category_id, now=NOW)
        except AlreadyExists:
            assert self.owner not in (None, category_id)
            assert self.claim.collect_events() == []
        else:
            assert self.owner in (None, category_id)
            self._expect_claims(category_id)

    @rule(category_id=ids)
    def release(self, category_id: CategoryId) -> None:
        self.claim.release(category_id=category_id, now=NOW)
        self._expect_claims(None if self.owner == category_id else self.owner)

    def _expect_claims(self, owner: CategoryId | None) -> None:
        events = self.claim.collect_events()
        assert len(events) == (self.owner != owner)
        self.claims += events
        self.owner = owner

    @invariant()
    def it_is_what_was_wanted(self) -> None:
        assert {what: getattr(self.category, what) for what in self.wanted} == self.wanted
        assert self.claim.category_id == self.owner

    @invariant()
    def what_was_stored_makes_the_same_category_and_claim(self) -> None:
        again, claim = replayed(self.events), replayed(self.claims)
        assert {what: getattr(again, what) for what in self.wanted} == self.wanted
        assert (again.slug, again.version) == ("cups", self.category.version)
        assert (claim.category_id, claim.version) == (self.owner, self.claim.version)

    @invariant()
    def versions_have_no_holes(self) -> None:
        for events, aggregate in ((self.events, self.category), (self.claims, self.claim)):
            assert [event.originator_version for event in events] == list(range(1, aggregate.version + 1))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
