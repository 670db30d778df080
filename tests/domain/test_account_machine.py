"""Random decisions about one account, beside a model of plain values."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.email_claims import FORMER_EMAILS_MAX
from domain.errors import IllegalTransition
from domain.users import Role
from tests.domain.test_account_lifecycle import registered
from tests.given import Decision, decide, replayed

roles = st.sampled_from(list(Role))


class Life(RuleBasedStateMachine):
    """`roles`, `mfa`, `verified` and `erased` are what the account should be, `former` how many addresses it had."""

    def __init__(self) -> None:
        super().__init__()
        self.user = registered()
        self.events = list(self.user.collect_events())
        self.roles, self.mfa, self.verified, self.erased = {Role.CUSTOMER}, False, False, False
        self.asked, self.pending, self.former = 1, False, 0

    def _decide(self, decision: Decision, *, events: int) -> bool:
        """True when it was taken; the number of events it should have made."""
        try:
            decide(self.user, decision)
        except IllegalTransition:
            assert self.erased
            return False
        assert not self.erased or decision[0] == "erase"
        made = self.user.collect_events()
        assert len(made) == events, (decision, made)
        self.events += made
        return True

    @rule(role=roles)
    def grant(self, role: Role) -> None:
        if self._decide(("grant", {"role": role, "by": "user:1"}), events=role not in self.roles):
            self.roles.add(role)

    @rule(role=roles)
    def revoke(self, role: Role) -> None:
        if self._decide(("revoke", {"role": role, "by": "user:1"}), events=role in self.roles):
            self.roles.discard(role)

    @rule(on=st.booleans())
    def second_factor(self, on: bool) -> None:
        if self._decide(("enable_mfa" if on else "disable_mfa", {"reason": "r"}), events=self.mfa != on):
            self.mfa = on

    @rule(name=st.none() | st.just("n2"))
    def profile(self, name: str | None) -> None:
        self._decide(("update_profile", {"sealed_name": name}), events=bool(name))

    @rule()
    def another_address(self) -> None:
        self.asked += 1
        if self.former < FORMER_EMAILS_MAX or self.erased:
            if self._decide(("request_email_change", {"sealed_email": f"e{self.asked}"}), events=1):
                self.pending = True
        else:
            with pytest.raises(IllegalTransition):
                decide(self.user, ("request_email_change", {"sealed_email": "e"}))

    @rule()
    def confirm(self) -> None:
        if not self.pending:
            with pytest.raises(IllegalTransition):
                decide(self.user, ("confirm_email_change", {}))
        elif self._decide(("confirm_email_change", {}), events=1):
            self.former += self.verified
            self.pending, self.verified = False, True

    @rule(place=st.integers(0, FORMER_EMAILS_MAX - 1))
    def undo(self, place: int) -> None:
        former = self.user.former_emails[place] if place < len(self.user.former_emails) else None
        dropped = self.mfa and (former is not None or self.pending)
        if self._decide(("undo_email_change", {"former": former}), events=3 + dropped):
            self.pending, self.mfa = False, self.mfa and not dropped
            if former is not None:
                self.former, self.verified = place, True
                assert self.user.email == former.email

    @rule()
    def verify(self) -> None:
        if self._decide(("verify_email", {}), events=not self.verified):
            self.verified = True

    @rule()
    def change_password(self) -> None:
        if self._decide(("change_password", {"reason": "r"}), events=2):
            self.pending = False

    @rule(really=st.integers(0, 5))
    def erase(self, really: int) -> None:
        if really == 0 and self._decide(("erase", {"by": "user:1"}), events=not self.erased):
            self.roles, self.mfa, self.verified, self.erased = set(), False, False, True
            self.pending, self.former = False, 0

    @invariant()
    def the_log_says_the_same(self) -> None:
        assert (set(self.user.roles), self.user.mfa_enabled, self.user.erased) == (self.roles, self.mfa, self.erased)
        assert self.user.email_verified == self.verified
        assert (self.user.pending_email is not None, len(self.user.former_emails)) == (self.pending, self.former)
        assert len(self.user.roles) == len(self.roles)
        assert vars(replayed(self.events)) == vars(self.user)
        assert [event.originator_version for event in self.events] == list(range(1, len(self.events) + 1))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
