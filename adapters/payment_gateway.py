"""The payment provider: Stripe's PaymentIntents over HTTP, and the signatures of its webhooks.

See `commands.ports.PaymentGateway` for what is promised. The provider's idempotency keys are `<key>:create`,
`:capture`, `:cancel` and `:refund`. Authorising is one request, and so the first with `<key>:create` decides for good
whether money is ever held: an authorisation confirms the intent it makes, a cancellation never does. No secret is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from adapters.strict_json import NotStrictJson, decoded_as
from commands.ports import Charge, GatewayAway, GatewayRefused, ProviderPayment, ProviderStatus
from domain.money import Money, minor_digits

API_VERSION: Final = "2026-10-28.endive"
ANSWER_S_MAX: Final = 20.0
CONNECT_S_MAX: Final = 5.0
CONNECTIONS_MAX: Final = 64
ANSWER_BYTES_MAX: Final = 1_048_576
SIGNATURE_TOLERANCE_S: Final = 300
SIGNATURE_LENGTH_MAX: Final = 1_000
TOLD_CHARS_MAX: Final = 300
INTENTS: Final = "/v1/payment_intents"
# Counted by the provider in another unit than ISO 4217 says: a charge would be a hundredth or a hundredfold.
_OTHER_UNITS: Final = frozenset({"ISK", "MGA", "UGX"})


class _Error(msgspec.Struct):
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None


class _Charged(msgspec.Struct):
    refunded: bool = False


class _Intent(msgspec.Struct):
    id: str
    status: str
    amount: int
    currency: str
    amount_received: int = 0
    metadata: dict[str, str] = {}
    latest_charge: str | _Charged | None = None
    last_payment_error: _Error | None = None


class _Told(_Error):
    """An error as it is answered, with the intent that it is about."""

    type: str = ""
    payment_intent: _Intent | None = None


class _ErrorAnswer(msgspec.Struct):
    error: _Told


class _Found(msgspec.Struct):
    data: list[_Intent]


class _Refund(msgspec.Struct):
    id: str
    status: str
    amount: int
    currency: str
    failure_reason: str | None = None


T = TypeVar("T", _Intent, _Refund, _Found)


class _Refused(GatewayRefused):
    """It said no; whether that matters depends on what the payment is by now. `intent` is what it said of that."""

    def __init__(self, message: str, intent: _Intent | None = None) -> None:
        super().__init__(message)
        self.intent = intent


class _OtherwiseUsed(_Refused):
    """The key was used before, with other parameters."""


class _FailedForGood(GatewayAway):
    """The provider failed, has kept that under the key, and answers it to every repetition."""


class StripeGateway:
    """See `commands.ports.PaymentGateway`. An async context manager; use it on one event loop.

    `url` is the base of the API, without a path; `timeout_s` bounds each request, of which most calls make one."""

    name: str = "stripe"

    def __init__(self, url: str, key: str, *, timeout_s: float = ANSWER_S_MAX) -> None:
        self._url = url.rstrip("/")
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._timeout_s = timeout_s
        self._headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=min(CONNECT_S_MAX, self._timeout_s)),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def authorise(self, charge: Charge) -> ProviderPayment:
        """Create and confirm in one request, to be captured by hand. A repetition gets the first answer for a day; of
        an intent that was made to be cancelled, what it is now, and it is cancelled if that was not done yet."""
        try:
            return _payment(await self._confirmed(charge))
        except _OtherwiseUsed:
            made = await self._created(charge, confirm=False)
        found = _asked(charge, await self._found(made.id))
        if _was_confirmed(found):
            return _payment(found)
        return await self._settled(charge, found.id, "cancel", ProviderStatus.CANCELLED)

    async def look_up(self, reference: str, charge: Charge | None = None) -> ProviderPayment:
        """The intent, with its charge: that alone tells of a refund."""
        found = await self._found(reference)
        return _payment(_asked(charge, found) if charge else found)

    async def capture(self, charge: Charge, reference: str) -> ProviderPayment:
        """All that is held."""
        return await self._settled(charge, reference, "capture", ProviderStatus.CAPTURED)

    async def cancel(self, charge: Charge, reference: str | None) -> ProviderPayment:
        """Without a reference the key is used up by an intent that holds nothing; where an authorisation was first, it
        is asked again what it made. A decline needs no more."""
        if reference is None:
            try:
                made = await self._created(charge, confirm=False)
            except _OtherwiseUsed:
                made = await self._confirmed(charge)
            if (payment := _payment(made)).status is ProviderStatus.DECLINED:
                return payment
            reference = made.id
        return await self._settled(charge, reference, "cancel", ProviderStatus.CANCELLED)

    async def refund(self, charge: Charge, reference: str) -> ProviderPayment:
        """One refund of the whole amount."""
        _require_same_units(charge.amount)
        form = {"payment_intent": reference, "amount": str(charge.amount.minor), **_metadata(charge)}
        try:
            refund = await self._ask(_Refund, "POST", "/v1/refunds", form, f"{charge.key}:refund")
        except (_Refused, _FailedForGood) as problem:
            return await self._already(charge, reference, ProviderStatus.REFUNDED, problem)
        _require_equal(charge, f"refund {refund.id}", refund.amount, refund.currency)
        match refund.status:
            case "succeeded":
                return ProviderPayment(reference=reference, status=ProviderStatus.REFUNDED)
            case "pending" | "requires_action":
                return ProviderPayment(reference=reference, status=ProviderStatus.PENDING)
        raise GatewayRefused(
            f"the refund {refund.id} of {reference} is {refund.status} ({refund.failure_reason or 'no reason given'}):"
            " the money has to be returned by hand."
        )

    async def _confirmed(self, charge: Charge) -> _Intent:
        """What authorising made of the charge, also when it was declined or the failure to answer is kept."""
        try:
            return await self._created(charge, confirm=True)
        except _Refused as refusal:
            if refusal.intent is None or not _was_confirmed(refusal.intent):
                raise
            return _asked(charge, refusal.intent)
        except _FailedForGood:
            if (found := await self._searched(charge)) is None:
                raise
            return found

    async def _created(self, charge: Charge, *, confirm: bool) -> _Intent:
        _require_same_units(charge.amount)
        form = {
            "amount": str(charge.amount.minor),
            "currency": charge.amount.currency.lower(),
            "payment_method": charge.payment_method,
            "capture_method": "manual",
            # Nobody is there to be sent to another page when it is confirmed.
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            **_metadata(charge),
            **({"confirm": "true"} if confirm else {}),
        }
        return _asked(charge, await self._ask(_Intent, "POST", INTENTS, form, f"{charge.key}:create"))

    async def _found(self, reference: str) -> _Intent:
        path = f"{INTENTS}/{quote(reference, safe='')}?expand%5B%5D=latest_charge"
        return await self._ask(_Intent, "GET", path, None, None)

    async def _searched(self, charge: Charge) -> _Intent | None:
        """The intent of this payment when there is one that can be found: the provider's index is a minute late."""
        query = quote(f"metadata['payment_id']:'{charge.payment_id}'", safe="")
        try:
            found = await self._ask(_Found, "GET", f"{INTENTS}/search?query={query}", None, None)
        except _Refused:  # it does not search for every merchant
            return None
        return _asked(charge, await self._found(found.data[0].id)) if found.data else None

    async def _settled(self, charge: Charge, reference: str, verb: str, wished: ProviderStatus) -> ProviderPayment:
        _require_same_units(charge.amount)
        path = f"{INTENTS}/{quote(reference, safe='')}/{verb}"
        try:
            intent = await self._ask(_Intent, "POST", path, {}, f"{charge.key}:{verb}")
        except (_Refused, _FailedForGood) as problem:
            return await self._already(charge, reference, wished, problem)
        return _payment(_asked(charge, intent))

    async def _already(
        self, charge: Charge, reference: str, wished: ProviderStatus, problem: GatewayRefused | GatewayAway
    ) -> ProviderPayment:
        """The payment when it is as wished all the same; raises the problem when not."""
        found = _payment(_asked(charge, await self._found(reference)))
        if found.status is wished:
            return found
        if isinstance(problem, GatewayAway):
            raise problem
        raise GatewayRefused(f"{reference} is {found.status} at the provider and cannot be {wished}: {problem}")

    async def _ask(self, kind: type[T], method: str, path: str, form: Mapping[str, str] | None, key: str | None) -> T:
        assert self._session is not None, "use it as a context manager"
        headers = {"Idempotency-Key": key} if key else {}
        place = f"{method} {path.partition('?')[0]} at {self._host}"
        try:
            async with self._session.request(
                method, self._url + path, data=form, headers=headers, allow_redirects=False
            ) as response:
                body = await _read(response)
        except TimeoutError:
            raise GatewayAway(f"{place} was not answered in {self._timeout_s:g} s; ask again.") from None
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise GatewayAway(f"{place} was not answered ({type(error).__name__}); ask again.") from None
        _require_done(place, response, body)
        try:
            return decoded_as(kind, body, bytes_max=ANSWER_BYTES_MAX)
        except NotStrictJson as error:
            raise GatewayAway(f"{place} was answered with what is no {kind.__name__[1:]} ({error}).") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("too large")
    return bytes(body)


def _require_done(place: str, response: aiohttp.ClientResponse, body: bytes) -> None:
    status, headers = response.status, response.headers
    if status == 200:
        return
    error = _error_in(body)
    told = f"{place} was answered with {status} {error.code or ''}: {(error.message or '')[:TOLD_CHARS_MAX]}"
    if status == 400 and error.type == "idempotency_error":
        raise _OtherwiseUsed(told)
    if status >= 500 and headers.get("Idempotent-Replayed") == "true":
        raise _FailedForGood(told)
    if status in (409, 429) or status >= 500 or headers.get("Stripe-Should-Retry") == "true":
        raise GatewayAway(told, retry_after_s=_seconds(headers.get("Retry-After")))
    raise _Refused(told, error.payment_intent)


def _error_in(body: bytes) -> _Told:
    try:
        return decoded_as(_ErrorAnswer, body, bytes_max=ANSWER_BYTES_MAX).error
    except NotStrictJson:
        return _Told(message="no error that can be read")


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None


def _metadata(charge: Charge) -> dict[str, str]:
    return {"metadata[payment_id]": str(charge.payment_id), "metadata[order_id]": str(charge.order_id)}


def _payment(intent: _Intent) -> ProviderPayment:
    match intent.status:
        case "requires_capture":
            status = ProviderStatus.AUTHORISED
        case "succeeded":
            refunded = isinstance(intent.latest_charge, _Charged) and intent.latest_charge.refunded
            status = ProviderStatus.REFUNDED if refunded else ProviderStatus.CAPTURED
        case "canceled":
            status = ProviderStatus.CANCELLED
        case "requires_payment_method" if intent.last_payment_error:
            return ProviderPayment(
                reference=intent.id,
                status=ProviderStatus.DECLINED,
                reason=_decline_reason(intent.last_payment_error),
            )
        case "requires_payment_method" | "requires_confirmation" | "requires_action" | "processing":
            status = ProviderStatus.PENDING
        case unknown:
            raise GatewayRefused(f"{intent.id} has the status {unknown!r}, which API version {API_VERSION} has not.")
    return ProviderPayment(reference=intent.id, status=status)


def _was_confirmed(intent: _Intent) -> bool:
    """Whether anybody tried to have it paid, or it is over."""
    untried = intent.status in ("requires_payment_method", "requires_confirmation")
    return not untried or _payment(intent).status is ProviderStatus.DECLINED


def _decline_reason(error: _Error) -> str:
    code = error.decline_code or error.code or "declined"
    told = f"{code}: {error.message}" if error.message else code
    # It becomes a stored reason, which takes no control characters.
    return "".join(each if each.isprintable() else " " for each in told[:TOLD_CHARS_MAX])


def _asked(charge: Charge, intent: _Intent) -> _Intent:
    """The intent. Raises GatewayRefused when it is not what the charge asks for."""
    _require_equal(charge, intent.id, intent.amount, intent.currency)
    if intent.status == "succeeded":
        _require_equal(charge, f"what was taken for {intent.id}", intent.amount_received, intent.currency)
    named = intent.metadata.get("payment_id")
    if named not in (None, str(charge.payment_id)):
        raise GatewayRefused(f"{intent.id} belongs to payment {named}, not to {charge.payment_id}.")
    return intent


def _require_equal(charge: Charge, what: str, minor: int, currency: str) -> None:
    asked = charge.amount
    if (minor, currency.upper()) != (asked.minor, asked.currency):
        raise GatewayRefused(
            f"the provider says {what} is {minor} {currency.upper()}, and {asked.minor} {asked.currency} (minor units)"
            f" were asked for payment {charge.payment_id}: look at it there before anything is sent."
        )


def _require_same_units(amount: Money) -> None:
    if amount.currency in _OTHER_UNITS:
        raise GatewayRefused(
            f"{amount.minor} {amount.currency} cannot be charged: this provider counts {amount.currency} in another"
            " unit than ISO 4217; charge in another currency."
        )
    if minor_digits(amount.currency) == 3 and amount.minor % 10:
        raise GatewayRefused(
            f"{amount.amount} {amount.currency} cannot be charged: this provider takes no third decimal but 0;"
            " round the amount."
        )


class BadSignature(Exception):
    """The message was not signed with our secret, or too long ago; nothing of it is to be believed."""


def verify_signature(body: bytes, header: str | None, secret: str, *, now: datetime) -> None:
    """Raises BadSignature unless the `Stripe-Signature` header has a signature of exactly this body with this secret,
    made at most SIGNATURE_TOLERANCE_S before or after now."""
    if not header:
        raise BadSignature("There is no Stripe-Signature header: only the payment provider sends to this address.")
    parts = [part.strip().partition("=") for part in header[:SIGNATURE_LENGTH_MAX].split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(moments) != 1 or not (moments[0].isascii() and moments[0].isdigit()) or len(moments[0]) > 12:
        raise BadSignature("The Stripe-Signature header has no time: it has to be like `t=1700000000,v1=...`.")
    expected = hmac.new(secret.encode(), moments[0].encode() + b"." + body, hashlib.sha256).hexdigest().encode()
    # Each is compared, whichever fits: how long it takes tells nothing.
    fitting = [hmac.compare_digest(expected, each.encode()) for each in signatures]
    if not any(fitting):
        raise BadSignature(
            f"None of the {len(signatures)} v1 signatures fits the body: KONTOR_STRIPE_WEBHOOK_SECRET is not the secret"
            " of this endpoint at the provider, or the body was changed on its way."
        )
    drift_s = now.timestamp() - int(moments[0])
    if abs(drift_s) > SIGNATURE_TOLERANCE_S:
        raise BadSignature(
            f"The message was signed {drift_s:.0f} s ago, and {SIGNATURE_TOLERANCE_S} s are allowed: have it sent"
            " again, or set this machine's clock."
        )
