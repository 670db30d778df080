"""The gateway over HTTP: who may, which idempotency key, which fault, and then the desk.

POST /v1/payment_intents, GET /v1/payment_intents/{id}, POST .../confirm | capture | cancel
GET  /v1/payment_intents/search?query=           metadata['name']:'value'
POST /v1/refunds, GET /v1/refunds/{id}
GET  /_gateway/health                            the only one that needs no key
GET  /_gateway/ledger?after=<intent>             per intent and in sum: authorised, captured, refunded, held
GET  /_gateway/webhooks                          the newest ones and what became of them
GET, POST, DELETE /_gateway/faults               see `cli.gateway.faults`
DELETE /_gateway/idempotency_keys                as if a day had passed
POST /_gateway/payment_intents/{id}/complete     {"succeeds": true}: the customer or the bank has decided
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from cli.gateway.books import Books, KeptAnswer
from cli.gateway.clerk import Clerk
from cli.gateway.deliveries import Courier
from cli.gateway.faults import ANSWERS, REORDER_S_MAX, WEBHOOKS, Fault, read_fault
from cli.gateway.forms import Form
from cli.gateway.payments import Answer, Desk
from cli.gateway.refusals import Refusal

BODY_BYTES_MAX: Final = 65_536
KEY_LENGTH_MAX: Final = 255
REQUESTS_AT_ONCE_MAX: Final = 256
HANG_S_MAX: Final = 120.0
HANG_POLL_S: Final = 0.1
WEBHOOKS_SHOWN: Final = 100
API_VERSION: Final = "2026-10-28.endive"

# (method, path) -> operation; the desk has a method of each name.
ROUTES: Final = {
    ("POST", "/v1/payment_intents"): "create",
    ("GET", "/v1/payment_intents/search"): "search",
    ("GET", "/v1/payment_intents/{id}"): "retrieve",
    ("POST", "/v1/payment_intents/{id}/confirm"): "confirm",
    ("POST", "/v1/payment_intents/{id}/capture"): "capture",
    ("POST", "/v1/payment_intents/{id}/cancel"): "cancel",
    ("POST", "/v1/refunds"): "refund",
    ("GET", "/v1/refunds/{id}"): "retrieve_refund",
}


class Asked(NamedTuple):
    """One request, understood."""

    operation: str
    object_id: str | None
    form: Form
    key: str | None
    digest: bytes
    request_id: str


class Sent(NamedTuple):
    """An answer as it goes out."""

    status: int
    body: bytes
    headers: dict[str, str]


class Tried(NamedTuple):
    """What came of a request: what goes wrong with its answer, how much later it is answered, and the answer."""

    wrong: Fault | None
    late_s: float
    answer: Sent | Refusal


@dataclass(slots=True)
class Gateway:
    """The running gateway. `courier` is None when no webhooks are sent."""

    clerk: Clerk
    key: str
    courier: Courier | None = None
    running: set[str] = field(default_factory=set)
    requests: int = 0

    async def serve(self, request: web.Request, operation: str) -> web.StreamResponse:
        """One request of the provider's API, with whatever is to go wrong with it."""
        asked = await _understood(request, operation)
        if asked.key in self.running:
            raise Refusal(
                409,
                "There is currently another in-progress request using this Idempotent Key. Please try again later.",
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        keys = {asked.key} if asked.key else set()
        self.running |= keys
        try:
            wrong, answer = await self._acted(asked)
        finally:
            self.running -= keys
        if wrong is not None:
            return await _wrong(request, wrong)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _acted(self, asked: Asked) -> tuple[Fault | None, Sent]:
        """What goes wrong with the answer, and the answer."""
        tried: Tried = await self.clerk.do(lambda books: self._tried(books, asked))
        if isinstance(tried.answer, Refusal):
            raise tried.answer
        if self.courier is not None:
            self.courier.wake()
        if tried.late_s:
            await asyncio.sleep(tried.late_s)
        return tried.wrong, tried.answer

    def _tried(self, books: Books, asked: Asked) -> Tried:
        """In one visit to the books: hand-overs to their thread are what a request costs most."""
        faults = books.hits(ANSWERS, asked.operation)
        late_s = sum(fault.seconds for fault in faults if fault.kind == "delay")
        wrong = next((fault for fault in faults if fault.kind != "delay"), None)
        if wrong is not None and wrong.when == "before" and not wrong.keep:
            return Tried(wrong, 0.0, Sent(0, b"", {}))
        kept = wrong if wrong is not None and wrong.keep else None
        try:
            with books.transaction():  # a refusal undoes this part alone: the faults that fitted stay counted
                return Tried(wrong, late_s, self._executed(books, asked, kept))
        except Refusal as refusal:
            return Tried(wrong, late_s, refusal)

    def _executed(self, books: Books, asked: Asked, failing: Fault | None) -> Sent:
        """Status, body and headers, once they are on disk."""
        now = time.time()
        headers = {
            "Content-Type": "application/json",
            "Request-Id": asked.request_id,
            "Stripe-Version": API_VERSION,
        }
        headers |= {"Idempotency-Key": asked.key} if asked.key else {}
        if asked.key and (known := books.kept_answer(asked.key, now=now)):
            if not hmac.compare_digest(known.digest, asked.digest):
                raise Refusal(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first used"
                    f" with. Try using a key other than '{asked.key}' if you meant to execute a different request.",
                    kind="idempotency_error",
                )
            replayed = {"Idempotent-Replayed": "true", "Original-Request": known.request_id}
            return Sent(known.status, known.body, headers | replayed)
        if failing is None or failing.when == "after":
            status, shown = _done(Desk(books, self._teller(books, asked, now), now=int(now)), asked)
        if failing is not None:
            status, shown = failing.status, _failure(failing)
        body = msgspec.json.encode(shown)
        if asked.key:
            books.keep_answer(asked.key, KeptAnswer(asked.digest, status, body, asked.request_id), now=now)
        return Sent(status, body, headers)

    def _teller(self, books: Books, asked: Asked | None, now: float) -> Callable[[str, str, Any], None]:
        def tell(kind: str, subject: str, shown: Any) -> None:
            if self.courier is None:
                return
            event_id = f"evt_{secrets.token_hex(12)}"
            event = {
                "id": event_id,
                "object": "event",
                "api_version": API_VERSION,
                "created": int(now),
                "data": {"object": shown},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {
                    "id": asked.request_id if asked else None,
                    "idempotency_key": asked.key if asked else None,
                },
                "type": kind,
            }
            faults = {fault.kind: fault for fault in books.hits(WEBHOOKS, kind)}
            late, held = faults.get("webhook_late"), "webhook_reorder" in faults
            due = now + (late.seconds if late else 0.0) + (REORDER_S_MAX if held else 0.0)
            for _ in range(2 if "webhook_twice" in faults else 1):
                body = msgspec.json.encode(event)
                books.queue(event_id, kind, subject, body, due=due, held=held, lost="webhook_lose" in faults)

        return tell

    async def complete(self, request: web.Request) -> web.Response:
        """The customer, or the bank, has decided."""
        wish = _object(await request.read()).get("succeeds", True)
        if not isinstance(wish, bool):
            raise Refusal(400, '`succeeds` has to be true or false: {"succeeds": true}.')

        def work(books: Books) -> Answer:
            now = time.time()
            desk = Desk(books, self._teller(books, None, now), now=int(now))
            return desk.complete(request.match_info["id"], succeeds=wish)

        answer: Answer = await self.clerk.do(work)
        if self.courier is not None:
            self.courier.wake()
        return _json(answer.body)

    async def ledger(self, request: web.Request) -> web.Response:
        """Rows and sums."""
        after = request.query.get("after", "")
        rows, sums = await self.clerk.do(lambda books: (books.ledger(after), books.sums()))
        return _json({"rows": rows, "sums": sums})

    async def webhooks(self, request: web.Request) -> web.Response:
        """The newest webhooks."""
        del request
        return _json({"webhooks": await self.clerk.do(lambda books: books.deliveries(WEBHOOKS_SHOWN))})

    async def faults(self, request: web.Request) -> web.Response:
        """List, add or clear."""
        match request.method:
            case "POST":
                fault = read_fault(await request.read())
                return _json({"number": await self.clerk.do(lambda books: books.add_fault(fault))})
            case "DELETE":
                return _json({"cleared": await self.clerk.do(lambda books: books.clear_faults())})
        listed = await self.clerk.do(lambda books: books.faults())
        rows = [{"number": number, "seen": seen, **msgspec.to_builtins(fault)} for number, seen, fault in listed]
        return _json({"faults": rows})

    async def forget_keys(self, request: web.Request) -> web.Response:
        """As if a day had passed."""
        del request
        return _json({"forgotten": await self.clerk.do(lambda books: books.forget_keys())})

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The key, how many at once, and refusals as answers."""
        if request.path == "/_gateway/health":
            return await handler(request)
        if self.requests >= REQUESTS_AT_ONCE_MAX:
            return _refused(Refusal(429, "Too many requests at once.", code="rate_limit"))
        self.requests += 1
        try:
            if not hmac.compare_digest(_given_key(request).encode(), self.key.encode()):
                raise Refusal(401, "Invalid API Key provided: set KONTOR_STRIPE_KEY to the gateway's own.")
            return await handler(request)
        except Refusal as refusal:
            return _refused(refusal)
        except web.HTTPRequestEntityTooLarge:
            return _refused(Refusal(413, f"The body is above {BODY_BYTES_MAX} bytes."))
        except web.HTTPNotFound:
            message = f"Unrecognized request URL ({request.method}: {request.path})."
            return _refused(Refusal(404, f"{message} This development gateway serves a part of the API."))
        finally:
            self.requests -= 1


def application(gateway: Gateway) -> web.Application:
    """Everything it serves."""
    # aiohttp hands a middleware to the class it is a method of, bound.
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[gateway.guard])

    def endpoint(operation: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            return await gateway.serve(request, operation)

        return serve

    async def health(request: web.Request) -> web.Response:
        del request
        return _json({"status": "ok"})

    for (method, path), operation in ROUTES.items():
        app.router.add_route(method, path, endpoint(operation))
    app.router.add_get("/_gateway/health", health)
    app.router.add_get("/_gateway/ledger", gateway.ledger)
    app.router.add_get("/_gateway/webhooks", gateway.webhooks)
    app.router.add_post("/_gateway/payment_intents/{id}/complete", gateway.complete)
    app.router.add_delete("/_gateway/idempotency_keys", gateway.forget_keys)
    for method in ("GET", "POST", "DELETE"):
        app.router.add_route(method, "/_gateway/faults", gateway.faults)
    return app


async def _understood(request: web.Request, operation: str) -> Asked:
    body = await request.read()
    try:
        form = Form(body.decode() if request.method == "POST" else request.query_string)
    except UnicodeDecodeError:
        raise Refusal(400, "The request is not form-encoded.") from None
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    if key is not None and not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise Refusal(400, f"The idempotency key has {len(key)} characters; 1 to {KEY_LENGTH_MAX} are allowed.")
    digest = hashlib.sha256(f"{request.method} {request.path} {form.canonical}".encode()).digest()
    return Asked(operation, request.match_info.get("id"), form, key, digest, f"req_{secrets.token_hex(7)}")


def _done(desk: Desk, asked: Asked) -> Answer:
    """The answer, which can be a refusal that is kept; raises the ones that are not."""
    act = getattr(desk, asked.operation)
    try:
        answer: Answer = act(asked.form) if asked.object_id is None else act(asked.object_id, asked.form)
    except Refusal as refusal:
        if not refusal.kept:
            raise
        return Answer(refusal.status, refusal.body)
    return answer


async def _wrong(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.kind == "answer":
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return _json(_failure(fault), status=fault.status, headers=headers)
    until = time.monotonic() + HANG_S_MAX
    while (connection := request.transport) and not connection.is_closing() and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(HANG_POLL_S)  # aiohttp has no event for it
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)  # read by nobody


def _failure(fault: Fault) -> dict[str, Any]:
    kind = "invalid_request_error" if fault.status < 500 else "api_error"
    code = {400: "parameter_invalid", 409: "lock_timeout", 429: "rate_limit"}.get(fault.status, "api_error")
    return {"error": {"type": kind, "code": code, "message": "The gateway was told to answer this."}}


def _given_key(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except ValueError:
            return ""
    return ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"The body is no JSON object: {error}") from None


def _json(shown: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(shown), headers=headers, content_type="application/json"
    )


def _refused(refusal: Refusal) -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="Kontor gateway"'} if refusal.status == 401 else None
    return _json(refusal.body, status=refusal.status, headers=headers)
