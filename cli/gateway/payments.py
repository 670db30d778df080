"""How payment intents move, as at the provider: what each request does, what it refuses, and what it tells of.

    requires_payment_method -> requires_confirmation -> requires_action | processing -> requires_capture -> succeeded

and `canceled` from each but the last. A decline goes back to requires_payment_method. Payment methods are test names:
the ones in DECLINES are refused, those in ASKS wait for the customer and PROCESSING for the bank until
POST /_gateway/payment_intents/{id}/complete; any other name that begins with `pm_` or `tok_` is a good card.
A name that begins with neither is refused as unknown. Captures and refunds: a capture is of the whole amount.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from cli.gateway.books import Books
from cli.gateway.forms import Form
from cli.gateway.refusals import Refusal
from cli.gateway.shapes import Charge, Intent, Refund

AMOUNT_MAX: Final = 99_999_999
SEARCHED_DEFAULT: Final = 10
SEARCHED_MAX: Final = 100
GOOD_PREFIXES: Final = ("pm_", "tok_")
DECLINES: Final = {
    "pm_card_chargeDeclined": ("card_declined", "generic_decline", "Your card was declined."),
    "pm_card_chargeDeclinedInsufficientFunds": (
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    "pm_card_chargeDeclinedLostCard": ("card_declined", "lost_card", "Your card was declined."),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", None, "Your card has expired."),
}
ASKS: Final = frozenset({"pm_card_threeDSecure2Required", "pm_card_authenticationRequired"})
PROCESSING: Final = "pm_gateway_processing"
CREATE_FIELDS: Final = (
    "amount currency capture_method confirm payment_method payment_method_types automatic_payment_methods metadata"
    " description confirmation_method return_url off_session error_on_requires_action receipt_email"
).split()
_SEARCHED: Final = re.compile(r"metadata\['(?P<name>\w+)'\]:'(?P<value>[^'\\]*)'")


class Answer(NamedTuple):
    """What is answered, and kept under the key."""

    status: int
    body: dict[str, Any]


Tell = Callable[[str, str, Any], None]  # type of webhook, the intent it is about, the object


class Desk:
    """One request's work on the books, inside their transaction. `now` is in whole seconds since 1970."""

    def __init__(self, books: Books, tell: Tell, *, now: int) -> None:
        self._books, self._tell, self._now = books, tell, now

    def create(self, form: Form) -> Answer:
        """A new intent; confirmed at once with confirm=true."""
        form.require_known(CREATE_FIELDS)
        amount, currency = form.integer("amount", most=AMOUNT_MAX), form.required("currency")
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
            raise Refusal(400, f"Invalid currency: {currency[:20]}.", param="currency")
        method, intent_id = _known_method(form), _new_id("pi")
        intent = Intent(
            id=intent_id,
            amount=amount,
            capture_method=form.choice("capture_method", "automatic", "automatic_async", "manual"),
            client_secret=f"{intent_id}_secret_{secrets.token_hex(12)}",
            created=self._now,
            currency=currency.lower(),
            description=form.optional("description"),
            metadata=form.metadata(),
            payment_method=method,
            status="requires_confirmation" if method else "requires_payment_method",
        )
        if form.choice("confirm", "false", "true") == "true":
            return self._confirm(intent, form, "create")
        self._books.save(intent)
        return self._shown(intent, form)

    def retrieve(self, intent_id: str, form: Form) -> Answer:
        """The intent as it is."""
        form.require_known(("client_secret",))
        return self._shown(self._intent(intent_id), form)

    def search(self, form: Form) -> Answer:
        """The newest intents whose metadata has one value."""
        form.require_known(("query", "limit"))
        if (wanted := _SEARCHED.fullmatch(form.required("query"))) is None:
            raise Refusal(400, "This gateway searches by one value only: metadata['name']:'value'.", param="query")
        limit = form.integer("limit", most=SEARCHED_MAX) if form.optional("limit") else SEARCHED_DEFAULT
        found = self._books.intents_with(wanted["name"], wanted["value"], limit=limit + 1)
        shown = {"object": "search_result", "url": "/v1/payment_intents/search", "next_page": None}
        return Answer(200, {**shown, "has_more": len(found) > limit, "data": found[:limit]})

    def confirm(self, intent_id: str, form: Form) -> Answer:
        """Try to take or hold the money."""
        form.require_known(("payment_method", "return_url", "off_session", "error_on_requires_action"))
        intent = self._intent(intent_id)
        if intent.status not in ("requires_payment_method", "requires_confirmation", "requires_action"):
            raise self._unexpected(intent, "confirm", "requires_confirmation")
        intent.payment_method = _known_method(form) or intent.payment_method
        return self._confirm(intent, form, "confirm")

    def capture(self, intent_id: str, form: Form) -> Answer:
        """Take what is held."""
        form.require_known(("amount_to_capture", "final_capture"))
        intent = self._intent(intent_id)
        if intent.status != "requires_capture":
            raise self._unexpected(intent, "capture", "requires_capture")
        if form.fields.get("amount_to_capture", str(intent.amount)) != str(intent.amount):
            raise Refusal(
                400, f"This gateway captures the whole {intent.amount} only.", param="amount_to_capture", kept=True
            )
        self._take(intent, self._charge(intent))
        return self._shown(intent, form)

    def cancel(self, intent_id: str, form: Form) -> Answer:
        """Let go; what was held is free."""
        form.require_known(("cancellation_reason",))
        intent = self._intent(intent_id)
        if intent.status in ("succeeded", "canceled"):
            raise self._unexpected(
                intent, "cancel", "requires_payment_method, requires_capture, requires_confirmation, requires_action"
            )
        intent.status, intent.canceled_at, intent.amount_capturable = "canceled", self._now, 0
        intent.cancellation_reason, intent.next_action = form.optional("cancellation_reason"), None
        self._books.save(intent)
        self._tell("payment_intent.canceled", intent.id, intent)
        return self._shown(intent, form)

    def refund(self, form: Form) -> Answer:
        """Give back what was taken, or a part of it."""
        form.require_known(("payment_intent", "charge", "amount", "reason", "metadata"))
        intent_id = form.optional("payment_intent")
        if intent_id is None:
            charge = self._books.load(Charge, form.required("charge"))
            if charge is None:
                raise _missing("charge", form.required("charge"), "charge")
            intent_id = charge.payment_intent
        intent = self._intent(intent_id, param="payment_intent")
        if intent.status != "succeeded":
            raise self._unexpected(intent, "refund", "succeeded")
        charge = self._charge(intent)
        left = charge.amount_captured - charge.amount_refunded
        if not left:
            raise Refusal(
                400, f"Charge {charge.id} has already been refunded.", code="charge_already_refunded", kept=True
            )
        amount = form.integer("amount", most=AMOUNT_MAX) if form.optional("amount") else left
        if amount > left:
            raise Refusal(
                400,
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).",
                param="amount",
                kept=True,
            )
        return self._refund(intent, charge, amount, form)

    def retrieve_refund(self, refund_id: str, form: Form) -> Answer:
        """The refund."""
        form.require_known(())
        refund = self._books.load(Refund, refund_id)
        if refund is None:
            raise _missing("refund", refund_id, "id")
        return Answer(200, msgspec.to_builtins(refund))

    def complete(self, intent_id: str, *, succeeds: bool) -> Answer:
        """What the customer, or the bank, does at last: agree or not."""
        intent = self._intent(intent_id)
        if intent.status not in ("requires_action", "processing"):
            raise self._unexpected(intent, "complete", "requires_action, processing")
        asked, intent.next_action = intent.status == "requires_action", None
        if succeeds:
            self._succeed(intent)
        else:
            code = "payment_intent_authentication_failure" if asked else "card_declined"
            self._decline(intent, code, None, "The customer did not agree." if asked else "The bank did not agree.")
        return Answer(200, msgspec.to_builtins(intent))

    def _confirm(self, intent: Intent, form: Form, operation: str) -> Answer:
        method = intent.payment_method
        if method is None:
            self._books.save(intent)
            raise Refusal(
                400,
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
                payment_intent=msgspec.to_builtins(intent),
                kept=True,
            )
        told = self._books.hits(("decline",), operation)
        if told or method in DECLINES:
            code, decline_code, message = (
                ("card_declined", told[0].code, "Your card was declined.") if told else DECLINES[method]
            )
            self._decline(intent, code, decline_code, message)
            return Answer(
                402, {"error": {**(intent.last_payment_error or {}), "payment_intent": self._as_told(intent)}}
            )
        if method in ASKS and intent.status != "requires_action":
            intent.status = "requires_action"
            intent.next_action = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
            self._books.save(intent)
        elif method == PROCESSING:
            intent.status = "processing"
            self._books.save(intent)
        elif method not in ASKS:
            self._succeed(intent)
        return self._shown(intent, form)

    def _succeed(self, intent: Intent) -> None:
        charge = self._new_charge(intent, "succeeded")
        if intent.capture_method != "manual":
            self._take(intent, charge)
            return
        self._books.save(charge)
        intent.status, intent.amount_capturable = "requires_capture", intent.amount
        self._books.save(intent)
        self._tell("payment_intent.amount_capturable_updated", intent.id, intent)

    def _take(self, intent: Intent, charge: Charge) -> None:
        charge.captured, charge.amount_captured = True, intent.amount
        intent.status, intent.amount_received, intent.amount_capturable = "succeeded", intent.amount, 0
        self._books.save(charge)
        self._books.save(intent)
        self._tell("payment_intent.succeeded", intent.id, intent)

    def _decline(self, intent: Intent, code: str, decline_code: str | None, message: str) -> None:
        charge = self._new_charge(intent, "failed")
        charge.failure_code, charge.failure_message = decline_code or code, message
        error = {"type": "card_error", "code": code, "message": message, "charge": charge.id}
        intent.last_payment_error = error | ({"decline_code": decline_code} if decline_code else {})
        intent.status, intent.payment_method = "requires_payment_method", None
        self._books.save(charge)
        self._books.save(intent)
        self._tell("payment_intent.payment_failed", intent.id, intent)

    def _refund(self, intent: Intent, charge: Charge, amount: int, form: Form) -> Answer:
        refund = Refund(
            id=_new_id("re"),
            amount=amount,
            charge=charge.id,
            created=self._now,
            currency=charge.currency,
            metadata=form.metadata(),
            payment_intent=intent.id,
            reason=form.optional("reason"),
        )
        charge.amount_refunded += amount
        charge.refunded = charge.amount_refunded == charge.amount_captured
        self._books.save(charge)
        self._books.save(refund)
        self._tell("charge.refunded", intent.id, charge)
        return Answer(200, msgspec.to_builtins(refund))

    def _new_charge(self, intent: Intent, status: str) -> Charge:
        assert intent.payment_method is not None
        charge = Charge(
            id=_new_id("ch"),
            amount=intent.amount,
            created=self._now,
            currency=intent.currency,
            metadata=intent.metadata,
            paid=status == "succeeded",
            payment_intent=intent.id,
            payment_method=intent.payment_method,
            status=status,
        )
        intent.latest_charge = charge.id
        return charge

    def _intent(self, intent_id: str, *, param: str = "intent") -> Intent:
        intent = self._books.load(Intent, intent_id)
        if intent is None:
            raise _missing("payment_intent", intent_id, param)
        return intent

    def _charge(self, intent: Intent) -> Charge:
        charge = self._books.load(Charge, intent.latest_charge or "")
        assert charge is not None, intent.id
        return charge

    def _shown(self, intent: Intent, form: Form) -> Answer:
        body = self._as_told(intent)
        if "latest_charge" in form.expand and intent.latest_charge:
            body["latest_charge"] = msgspec.to_builtins(self._charge(intent))
        return Answer(200, body)

    def _as_told(self, intent: Intent) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(intent)
        return shown

    def _unexpected(self, intent: Intent, verb: str, needed: str) -> Refusal:
        return Refusal(
            400,
            f"You cannot {verb} this PaymentIntent because it has a status of {intent.status}. Only a PaymentIntent"
            f" with one of the following statuses may be used for this: {needed}.",
            code="payment_intent_unexpected_state",
            payment_intent=self._as_told(intent),
            kept=True,
        )


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def _known_method(form: Form) -> str | None:
    method = form.optional("payment_method")
    if method is not None and (not method.startswith(GOOD_PREFIXES) or len(method) > 255):
        raise Refusal(400, f"No such PaymentMethod: '{method[:100]}'", code="resource_missing", param="payment_method")
    return method


def _missing(kind: str, object_id: str, param: str) -> Refusal:
    return Refusal(404, f"No such {kind}: '{object_id[:100]}'", code="resource_missing", param=param)
