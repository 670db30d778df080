"""What the gateway keeps and answers with: the provider's objects, as far as they are served."""

from __future__ import annotations

from typing import Any

import msgspec


class Intent(msgspec.Struct, kw_only=True):
    """One wish to be paid; see `payments` for how its status moves."""

    id: str
    object: str = "payment_intent"
    amount: int
    amount_capturable: int = 0
    amount_received: int = 0
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    capture_method: str
    client_secret: str
    confirmation_method: str = "automatic"
    created: int
    currency: str
    customer: str | None = None
    description: str | None = None
    last_payment_error: dict[str, Any] | None = None
    latest_charge: str | None = None
    livemode: bool = False
    metadata: dict[str, str] = {}
    next_action: dict[str, Any] | None = None
    payment_method: str | None = None
    payment_method_types: list[str] = msgspec.field(default_factory=lambda: ["card"])
    status: str


class Charge(msgspec.Struct, kw_only=True):
    """One try to take the money of an intent."""

    id: str
    object: str = "charge"
    amount: int
    amount_captured: int = 0
    amount_refunded: int = 0
    captured: bool = False
    created: int
    currency: str
    failure_code: str | None = None
    failure_message: str | None = None
    livemode: bool = False
    metadata: dict[str, str] = {}
    paid: bool
    payment_intent: str
    payment_method: str
    refunded: bool = False
    status: str


class Refund(msgspec.Struct, kw_only=True):
    """Money given back."""

    id: str
    object: str = "refund"
    amount: int
    charge: str
    created: int
    currency: str
    metadata: dict[str, str] = {}
    payment_intent: str
    reason: str | None = None
    status: str = "succeeded"


Kept = Intent | Charge | Refund
SHAPES: dict[str, type[Intent] | type[Charge] | type[Refund]] = {
    "payment_intent": Intent,
    "charge": Charge,
    "refund": Refund,
}
