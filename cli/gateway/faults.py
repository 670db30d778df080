"""What the gateway gets wrong when it is told to; `kontor gateway tell --help` and POST /_gateway/faults take the same.

    decline          refuse the payment, with the decline code `code`
    delay            do it, and answer `seconds` later
    hang             never answer; `when` says whether it is done ("after") or not ("before")
    answer           answer with `status` instead of the result; `when` says whether it is done. `keep` has the same
                     answer for every repetition of the key, as the provider does with its own failures, done or
                     not; otherwise a repetition gets the result
    webhook_twice    send the webhook twice
    webhook_lose     do not send it
    webhook_late     send it `seconds` later
    webhook_reorder  send it after the next one of the same payment, or after 10 s

`on` narrows it to one operation (create, confirm, capture, cancel, retrieve, search, refund, retrieve_refund) or to one
type of webhook; a decline to create or confirm. It holds for the next `times` that fit, or, with `every`, for each such
one until it is cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from cli.gateway.refusals import Refusal

OPERATIONS: Final = ("create", "confirm", "capture", "cancel", "retrieve", "search", "refund", "retrieve_refund")
EVENT_TYPES: Final = (
    "payment_intent.amount_capturable_updated",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "charge.refunded",
)
FAULTS_MAX: Final = 100
REORDER_S_MAX: Final = 10.0
ANSWERS: Final = ("delay", "hang", "answer")
WEBHOOKS: Final = ("webhook_twice", "webhook_lose", "webhook_late", "webhook_reorder")

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing to get wrong; see the module."""

    kind: Literal[
        "decline", "delay", "hang", "answer", "webhook_twice", "webhook_lose", "webhook_late", "webhook_reorder"
    ]
    on: str = ""
    when: Literal["before", "after"] = "after"
    times: Count = 1
    every: Count | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 1.0
    status: Literal[400, 409, 429, 500, 503] = 500
    retry_after: Annotated[int, msgspec.Meta(ge=0, le=3_600)] | None = None
    code: Annotated[str, msgspec.Meta(max_length=50)] = "generic_decline"
    keep: bool = False

    def hits(self, seen: int) -> bool:
        """Whether it goes wrong the `seen`-th time that it fits."""
        return self.every is None or seen % self.every == 0

    def spent(self, seen: int) -> bool:
        """Whether it will never go wrong again."""
        return self.every is None and seen >= self.times


def read_fault(body: bytes) -> Fault:
    """The fault that a request tells of; raises Refusal saying what is wrong with it."""
    try:
        fault = msgspec.json.decode(body, type=Fault)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"This is no fault: {error}. See `kontor gateway tell --help`.") from None
    known: Sequence[str] = ("create", "confirm")
    if fault.kind in ANSWERS:
        known = OPERATIONS
    elif fault.kind in WEBHOOKS:
        known = EVENT_TYPES
    if fault.on and fault.on not in known:
        raise Refusal(400, f"{fault.kind} can be on one of {', '.join(known)}, not on {fault.on[:50]!r}.")
    return fault
