"""Random decisions about one payment, beside a model that knows only which state leads where."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import IllegalTransition
from domain.payments import PaymentStatus
from tests.domain.test_payments import DECISIONS, LEADS, SILENT, requested
from tests.given import Decision, decide, replayed


class Life(RuleBasedStateMachine):
    """`status` is where the payment should be."""

    def __init__(self) -> None:
        super().__init__()
        self.payment = requested()
        self.events = list(self.payment.collect_events())
        self.status = PaymentStatus.REQUESTED

    @rule(decision=st.sampled_from(DECISIONS))
    def wish(self, decision: Decision) -> None:
        before, (name, _) = self.status, decision
        try:
            decide(self.payment, decision)
        except IllegalTransition:
            assert before not in LEADS[name]
            assert before not in SILENT[name]
        self.status = LEADS[name].get(before, before)
        events = self.payment.collect_events()
        assert len(events) == (before in LEADS[name])
        self.events += events

    @invariant()
    def the_log_says_the_same(self) -> None:
        again = replayed(self.events)
        assert self.payment.status is again.status is self.status
        assert vars(again) == vars(self.payment)
        assert [event.originator_version for event in self.events] == list(range(1, len(self.events) + 1))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
