"""Every decision about a payment in every state."""

from __future__ import annotations

import pytest

from domain.errors import IllegalTransition, Invalid
from domain.identity import payment_id
from domain.money import Money
from domain.payments import Payment, PaymentStatus
from tests.given import GBP_2_55, NOW, ORDER_ID, Decision, Told, decide, told

S = PaymentStatus
ORDER = {"order_id": str(ORDER_ID)}
AMOUNT = {"amount": {"minor": 255, "currency": "GBP"}}
AUTHORISE: Decision = ("authorise", {"reference": "pi_1"})
CAPTURE: Decision = ("capture", {})
DECLINE: Decision = ("decline", {"reason": "no funds"})
VOID: Decision = ("void", {"reason": "cancelled"})
REFUND: Decision = ("refund", {"reason": "broken"})
DECISIONS = [AUTHORISE, CAPTURE, DECLINE, VOID, REFUND]

WAY: dict[PaymentStatus, list[Decision]] = {
    S.REQUESTED: [],
    S.AUTHORISED: [AUTHORISE],
    S.CAPTURED: [AUTHORISE, CAPTURE],
    S.DECLINED: [DECLINE],
    S.VOIDED: [VOID],
    S.REFUNDED: [AUTHORISE, CAPTURE, REFUND],
}
SAID: dict[str, Told] = {
    "authorise": ("payment.authorised", ORDER | {"reference": "pi_1"}),
    "capture": ("payment.captured", ORDER | AMOUNT),
    "decline": ("payment.declined", ORDER | {"reason": "no funds"}),
    "void": ("payment.voided", ORDER | {"reason": "cancelled"}),
    "refund": ("payment.refunded", ORDER | AMOUNT | {"reason": "broken"}),
}
LEADS = {
    "authorise": {S.REQUESTED: S.AUTHORISED},
    "capture": {S.AUTHORISED: S.CAPTURED},
    "decline": {S.REQUESTED: S.DECLINED},
    "void": {S.REQUESTED: S.VOIDED, S.AUTHORISED: S.VOIDED},
    "refund": {S.CAPTURED: S.REFUNDED},
}
SILENT = {
    "authorise": {S.AUTHORISED, S.CAPTURED, S.REFUNDED},
    "capture": {S.CAPTURED},
    "decline": {S.DECLINED},
    "void": {S.VOIDED},
    "refund": {S.REFUNDED},
}
PAIRS = [(status, decision) for status in S for decision in DECISIONS]


def requested(amount: Money = GBP_2_55, provider: str = "stripe") -> Payment:
    return Payment.request(order_id=ORDER_ID, amount=amount, provider=provider, now=NOW)


def in_status(status: PaymentStatus) -> Payment:
    payment: Payment = decide(requested(), *WAY[status])
    payment.collect_events()
    assert payment.status is status
    return payment


def test_a_payment_is_the_only_one_of_its_order() -> None:
    payment = requested()
    assert (payment.id, payment.status) == (payment_id(ORDER_ID), S.REQUESTED)
    assert told(payment) == [("payment.requested", ORDER | AMOUNT | {"provider": "stripe"})]


@pytest.mark.parametrize(("status", "decision"), PAIRS, ids=lambda each: each if isinstance(each, str) else each[0])
def test_a_decision_leads_on_is_silent_or_is_refused_by_name(status: PaymentStatus, decision: Decision) -> None:
    payment, wish = in_status(status), decision[0]
    if status in LEADS[wish]:
        assert told(decide(payment, decision)) == [SAID[wish]]
        assert payment.status is LEADS[wish][status]
    elif status in SILENT[wish]:
        assert told(decide(payment, decision)) == []
    else:
        allowed = " or ".join(each.value for each in LEADS[wish])
        with pytest.raises(IllegalTransition, match=f"is {status.value}.*it must be {allowed}"):
            decide(payment, decision)
        assert told(payment) == []


@pytest.mark.parametrize("status", [S.AUTHORISED, S.CAPTURED, S.REFUNDED])
def test_an_authorisation_under_another_reference_is_refused(status: PaymentStatus) -> None:
    payment = in_status(status)
    with pytest.raises(IllegalTransition, match=status.value):
        decide(payment, ("authorise", {"reference": "pi_2"}))
    assert (told(payment), payment.reference) == ([], "pi_1")


def test_an_authorisation_that_was_voided_is_not_made_again_by_the_same_answer() -> None:
    payment = decide(requested(), AUTHORISE, VOID)
    payment.collect_events()
    with pytest.raises(IllegalTransition, match="VOIDED"):
        decide(payment, AUTHORISE)
    assert told(payment) == []


@pytest.mark.parametrize(
    ("amount", "provider", "field"), [(Money(0, "GBP"), "stripe", "amount"), (GBP_2_55, "", "provider")]
)
def test_a_request_that_makes_no_sense_is_invalid(amount: Money, provider: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        requested(amount, provider)
    assert refused.value.field == (field,)


@pytest.mark.parametrize("decision", [("decline", {"reason": ""}), ("void", {"reason": "\x00"})])
def test_a_reason_is_needed(decision: Decision) -> None:
    with pytest.raises(Invalid):
        decide(in_status(S.REQUESTED), decision)
