"""Random claims on one address, beside a model of who has it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import AlreadyExists
from domain.identity import UserId
from tests.domain.test_account_lifecycle import ADA, BOB, claimed
from tests.given import NOW, decide, replayed

people = st.sampled_from([ADA, BOB, UserId(UUID(int=0xCAFE))])


class Claim(RuleBasedStateMachine):
    """`owner` is the account that should have the address, `kept_for` the one that it is kept for."""

    def __init__(self) -> None:
        super().__init__()
        self.claim = claimed()
        self.events = list(self.claim.collect_events())
        self.owner: UserId | None = ADA
        self.kept_for: UserId | None = None

    def _collect(self, *, events: int) -> None:
        made = self.claim.collect_events()
        assert len(made) == events, made
        self.events += made

    @rule(person=people)
    def reclaim(self, person: UserId) -> None:
        try:
            decide(self.claim, ("reclaim", {"user_id": person}))
        except AlreadyExists:
            assert self.owner not in (None, person) or self.kept_for not in (None, person)
            self._collect(events=0)
        else:
            assert self.owner in (None, person)
            assert self.kept_for in (None, person)
            self._collect(events=self.owner is None)
            self.owner, self.kept_for = person, None

    @rule(person=people)
    def release(self, person: UserId) -> None:
        decide(self.claim, ("release", {"user_id": person}))
        self._collect(events=person in (self.owner, self.kept_for))
        if person in (self.owner, self.kept_for):
            self.owner, self.kept_for = None, None

    @rule(person=people)
    def keep(self, person: UserId) -> None:
        decide(self.claim, ("keep", {"user_id": person, "until": NOW + timedelta(days=7)}))
        self._collect(events=self.owner == person)
        if self.owner == person:
            self.owner, self.kept_for = None, person

    @invariant()
    def the_log_says_the_same(self) -> None:
        assert (self.claim.user_id, self.claim.kept_for) == (self.owner, self.kept_for)
        assert vars(replayed(self.events)) == vars(self.claim)
        assert [event.originator_version for event in self.events] == list(range(1, len(self.events) + 1))


TestClaim = Claim.TestCase
TestClaim.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
