"""Random decisions about one order, beside a model that knows only which state leads where."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import IllegalTransition
from domain.orders import OrderStatus
from tests.domain.test_order_lifecycle import DECISIONS, LEADS, SILENT
from tests.given import Decision, decide, placed_order, replayed


class Life(RuleBasedStateMachine):
    """`status` is where the order should be."""

    def __init__(self) -> None:
        super().__init__()
        self.order = placed_order()
        self.events = list(self.order.collect_events())
        self.status = OrderStatus.PENDING

    @rule(decision=st.sampled_from(DECISIONS))
    def wish(self, decision: Decision) -> None:
        before, (name, _) = self.status, decision
        try:
            decide(self.order, decision)
        except IllegalTransition:
            assert before not in LEADS[name]
            assert before not in SILENT[name]
        self.status = LEADS[name].get(before, before)
        events = self.order.collect_events()
        assert len(events) == (before in LEADS[name])
        self.events += events

    @invariant()
    def the_log_says_the_same(self) -> None:
        again = replayed(self.events)
        assert self.order.status is again.status is self.status
        assert vars(again) == vars(self.order)
        assert [event.originator_version for event in self.events] == list(range(1, len(self.events) + 1))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
