"""A payment's row says what the aggregate says, after every event."""

from __future__ import annotations

import pytest

from domain.money import Money
from domain.payments import Payment
from projections.payments import PAYMENTS, PaymentRow
from tests.given import NOW, ORDER_ID, Decision, decide, recorded

AUTHORISE: Decision = ("authorise", {"reference": "pi_1"})
WAYS: list[list[Decision]] = [
    [AUTHORISE, ("capture", {}), ("refund", {"reason": "broken"})],
    [AUTHORISE, ("void", {"reason": "cancelled"})],
    [("decline", {"reason": "no funds"})],
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[-1][0])
def test_the_row_and_the_payment_agree_after_every_event(way: list[Decision]) -> None:
    payment = decide(Payment.request(order_id=ORDER_ID, amount=Money(510, "GBP"), provider="stripe", now=NOW), *way)
    row, known = None, None
    for each in recorded(payment.collect_events()):
        row, known = PAYMENTS.fold(row, each), each.event.mutate(known)
        assert row == PaymentRow(
            id=payment.id,
            order_id=ORDER_ID,
            status=known.status,
            amount_minor=510,
            currency="GBP",
            provider="stripe",
            reference=known.reference,
            reason=known.reason,
            version=each.version,
            position=each.position,
        )
    assert row is not None
    assert row.version == len(way) + 1
