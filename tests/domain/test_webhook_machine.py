"""Random decisions about one webhook endpoint, beside a model that knows only which state leads where."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.errors import IllegalTransition
from domain.webhooks import EndpointState
from tests.domain.test_webhooks import DECISIONS, LEADS, SILENT, registered
from tests.given import Decision, decide, replayed


class Life(RuleBasedStateMachine):
    """`state` is where the endpoint should be."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = registered()
        self.events = list(self.endpoint.collect_events())
        self.state = EndpointState.ACTIVE

    @rule(decision=st.sampled_from(DECISIONS))
    def wish(self, decision: Decision) -> None:
        before, (name, _) = self.state, decision
        try:
            decide(self.endpoint, decision)
        except IllegalTransition:
            assert before not in LEADS[name]
            assert before not in SILENT[name]
        self.state = LEADS[name].get(before, before)
        events = self.endpoint.collect_events()
        repeated = name == "update" and any(event.TOPIC == "webhook.updated" for event in self.events)
        assert len(events) == (before in LEADS[name] and not repeated)
        self.events += events

    @invariant()
    def the_log_says_the_same(self) -> None:
        again = replayed(self.events)
        assert self.endpoint.state is again.state is self.state
        assert vars(again) == vars(self.endpoint)
        assert [event.originator_version for event in self.events] == list(range(1, len(self.events) + 1))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
