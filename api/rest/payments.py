"""`POST /v1/payments/stripe/webhook`: what the payment provider tells, as a reason to ask it.

Nothing is looked at that is not signed with our secret, and nothing is believed that is: whoever has the secret could
say that any order is paid. What an event tells that is not known yet has a worker ask the provider, and what the
provider answers counts (`streams.confirming`). An event comes twice, late and out of order; it is taken (200) once that
is stored. When Kontor cannot do so now the answer is 503, and the provider sends the event again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from adapters.payment_gateway import BadSignature, verify_signature
from adapters.provider_news import plan_look
from adapters.security_log import asked_from, bounded, tell
from adapters.strict_json import NotStrictJson, decoded_as
from adapters.wiring import Kontor
from api.body_limit import BODY_BYTES_MAX
from api.client_address import client_address, networks
from api.rest.problems import problem
from api.throttling import sought
from commands.doors import Door
from commands.handling import ANONYMOUS
from commands.payments import (
    AuthorisePayment,
    CapturePayment,
    DeclinePayment,
    Move,
    RefundPayment,
    VoidPayment,
    is_known,
)
from commands.security_events import SecurityEvent
from domain.payments import REASON_LENGTH_MAX, Payment

log = structlog.get_logger()

PATH: Final = "/v1/payments/stripe/webhook"
DOOR: Final = Door(guesses="Stripe-Signature")  # counted by the address
ANSWER_S: Final = 0.3  # between the provider's answer and its record
router = APIRouter(tags=["payments"])


class _PaymentError(msgspec.Struct):
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None


class _Told(msgspec.Struct):
    """A payment intent, or the charge of one: what of both we look at."""

    id: str
    object: str
    amount: int
    currency: str
    metadata: dict[str, str] = {}
    payment_intent: str | None = None
    amount_capturable: int | None = None
    amount_received: int | None = None
    amount_refunded: int | None = None
    captured: bool = False
    cancellation_reason: str | None = None
    last_payment_error: _PaymentError | None = None

    @property
    def reference(self) -> str:
        """The id of the intent."""
        return self.id if self.object == "payment_intent" else self.payment_intent or ""


class _Envelope(msgspec.Struct):
    id: str
    type: str
    data: dict[str, Any]


class _Data(msgspec.Struct):
    object: _Told


# type of event -> the field of its object that has to be the whole amount, if it says that money moved
_MOVED: Final = {
    "payment_intent.amount_capturable_updated": "amount_capturable",
    "payment_intent.payment_failed": None,
    "payment_intent.succeeded": "amount_received",
    "payment_intent.canceled": None,
    "charge.refunded": "amount_refunded",
}


@router.post(PATH, summary="What the payment provider tells", include_in_schema=False)
async def webhook(request: Request) -> Response:
    """Taken (200), not signed by the provider (400), about other money (422), or to be sent again (503)."""
    kontor: Kontor = request.app.state.kontor
    secret = kontor.settings.stripe_webhook_secret.get_secret_value()
    if not secret:
        return problem(404, "NOT_FOUND", "No payment provider is configured: set KONTOR_STRIPE_WEBHOOK_SECRET.")
    body = await request.body()
    if unsigned := await _refusal(request, kontor, body, secret):
        log.warning("payment_webhook_unsigned", problem=unsigned)
        return problem(400, "BAD_SIGNATURE", unsigned)
    try:
        event = decoded_as(_Envelope, body, bytes_max=BODY_BYTES_MAX)
        if event.type not in _MOVED:
            return _taken("ignored")
        told = msgspec.convert(event.data, _Data).object
    except (NotStrictJson, msgspec.ValidationError) as error:
        log.error("payment_webhook_unreadable", problem=str(error))
        return problem(400, "INVALID", f"This is no event of the provider's as we know them: {error}")
    return await _handled(kontor, event, told)


async def _refusal(request: Request, kontor: Kontor, body: bytes, secret: str) -> str:
    """Why the event is not the provider's; empty when it is. Raises RateLimited where too many of the address were
    not."""
    header, told = request.headers.get("Stripe-Signature"), ""

    async def signed() -> bool | None:
        nonlocal told
        try:
            verify_signature(body, header, secret, now=datetime.now(UTC))
        except BadSignature as refusal:
            told = str(refusal)
            return None
        return True

    address = client_address(request, networks(kontor.settings.trusted_proxies))
    asked_from(address)
    with kontor.ports.security.watched("provider event", ANONYMOUS):
        await sought(kontor, DOOR, {DOOR.guesses: ""}, actor=ANONYMOUS, address=address, look=signed)
    if told:
        tell(SecurityEvent.IDENTITY_REFUSED, who=ANONYMOUS.name, what="provider event", outcome="refused")
    return told


async def _handled(kontor: Kontor, event: _Envelope, told: _Told) -> Response:
    payment = await _payment_of(kontor, told)
    if payment is None:
        return _taken("ignored")
    if (answer := _not_ours(payment, event, told)) is not None:
        return answer
    if await _is_known_soon(kontor, payment, _command(event.type, payment.id, told)):
        return _taken("done")
    # What the provider tells has followed from what was asked of the order last.
    correlation_id = await kontor.log.last_correlation(payment.order_id)
    planned = await plan_look(
        kontor.pool,
        payment_id=payment.id,
        order_id=payment.order_id,
        correlation_id=correlation_id,
        now=kontor.ports.clock.now(),
    )
    if not planned:
        return problem(503, "UNAVAILABLE", "The provider is asked about this payment already. Send the event again.")
    return _taken("asked")


async def _is_known_soon(kontor: Kontor, payment: Payment, wish: Move) -> bool:
    """Most events tell what the provider has answered to ourselves. Whoever asked is about to record it: to race with
    him would be twice the work, and a conflict."""
    if is_known(payment, wish, datetime.now(UTC)):
        return True
    await asyncio.sleep(ANSWER_S)
    now = await _payment(kontor, payment.id)
    return now is not None and is_known(now, wish, datetime.now(UTC))


def _not_ours(payment: Payment, event: _Envelope, told: _Told) -> Response | None:
    """The answer to an event that does not speak of this payment's money."""
    if event.type == "charge.refunded" and not told.captured:
        # A hold that was let go is told as refunded, too; its cancellation tells us of it.
        return _taken("ignored")
    if payment.reference not in (None, told.reference):
        _error("payment_webhook_of_another_intent", payment, event, told, known=payment.reference)
        return _taken("ignored")
    moved = _MOVED[event.type]
    amounts = [told.amount] if moved is None else [told.amount, getattr(told, moved)]
    asked, currency = payment.amount, told.currency.upper()
    if currency == asked.currency and all(amount == asked.minor for amount in amounts):
        return None
    seen = f"{' and '.join(map(str, amounts))} {currency}"
    _error("payment_webhook_of_other_money", payment, event, told, asked=f"{asked.minor} {asked.currency}", seen=seen)
    return problem(
        422,
        "AMOUNT_MISMATCH",
        f"Payment {payment.id} is of {asked.minor} {asked.currency} (minor units), the event {event.id} of {seen}:"
        " nothing was done; correct it at the provider.",
    )


def _error(name: str, payment: Payment, event: _Envelope, told: _Told, **more: object) -> None:
    values = {
        "payment_id": str(payment.id),
        "event_id": bounded(event.id),
        "type": event.type,
        "reference": bounded(told.reference),
    }
    log.error(name, **values, **more)


async def _payment_of(kontor: Kontor, told: _Told) -> Payment | None:
    """The payment that the metadata names; None when it is not ours."""
    try:
        payment_id = UUID(told.metadata["payment_id"])
    except (KeyError, ValueError):
        return None
    return await _payment(kontor, payment_id)


async def _payment(kontor: Kontor, payment_id: UUID) -> Payment | None:
    found = (await kontor.ports.store.load([payment_id])).get(payment_id)
    return found[0] if found is not None and isinstance(found[0], Payment) else None


def _command(kind: str, payment_id: UUID, told: _Told) -> Move:
    match kind:
        case "payment_intent.amount_capturable_updated":
            return AuthorisePayment(payment_id=payment_id, reference=told.reference)
        case "payment_intent.payment_failed":
            error = told.last_payment_error or _PaymentError()
            code = error.decline_code or error.code or "declined"
            reason = f"{code}: {error.message}" if error.message else code
            return DeclinePayment(payment_id=payment_id, reason=_reason(reason))
        case "payment_intent.succeeded":
            return CapturePayment(payment_id=payment_id)
        case "payment_intent.canceled":
            reason = f"cancelled at the provider: {told.cancellation_reason or 'no reason given'}"
            return VoidPayment(payment_id=payment_id, reason=_reason(reason))
    assert kind == "charge.refunded", kind
    return RefundPayment(payment_id=payment_id, reason="refunded at the provider")


def _reason(text: str) -> str:
    """Within what a stored reason may be: a strange text is no ground to miss a decline."""
    return "".join(each if each.isprintable() else " " for each in text[:REASON_LENGTH_MAX])


def _taken(outcome: str) -> JSONResponse:
    return JSONResponse({"outcome": outcome})
