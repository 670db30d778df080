"""One input for every public command, as the documentation shows it; `tests/api/test_forms.py` checks each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_CATEGORY: Final = "01980000-0000-7000-8000-00000000000a"
_PRODUCT: Final = "01980000-0000-7000-8000-00000000000b"
_ORDER: Final = "01980000-0000-7000-8000-00000000000c"
_USER: Final = "01980000-0000-7000-8000-00000000000d"
_SESSION: Final = "01980000-0000-7000-8000-00000000000e"
_ENDPOINT: Final = "01980000-0000-7000-8000-00000000000f"
_PRICE: Final = {"amount": "7.25", "currency": "GBP"}
_PASSWORD: Final = "correct horse battery"  # noqa: S105  # an example
_TOKEN: Final = "q0Zr3bSx1mJf8uYv2kTn5wLh7cPd4gEa6iNo9sRtUyQ"  # noqa: S105  # an example

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "register-user": {"email": "ada@example.com", "name": "Ada", "password": _PASSWORD},
    "sign-in": {"email": "ada@example.com", "password": _PASSWORD, "mfaCode": "492039"},
    "sign-out": {"sessionId": _SESSION},
    "update-profile": {"name": "Ada Lovelace", "email": "ada.lovelace@example.com", "currentPassword": _PASSWORD},
    "change-password": {"current": _PASSWORD, "new": "another horse battery"},
    "verify-email": {"token": _TOKEN},
    "undo-email-change": {"token": _TOKEN},
    "request-password-reset": {"email": "ada@example.com"},
    "reset-password": {"token": _TOKEN, "new": "another horse battery"},
    "enable-mfa": {"currentPassword": _PASSWORD},
    "confirm-mfa": {"code": "492039"},
    "disable-mfa": {"code": "492039", "currentPassword": _PASSWORD},
    "grant-role": {"userId": _USER, "role": "STAFF"},
    "revoke-role": {"userId": _USER, "role": "STAFF"},
    "erase-user": {"userId": _USER, "currentPassword": _PASSWORD},
    "suspend-user": {"userId": _USER, "reason": "FRAUD"},
    "resume-user": {"userId": _USER},
    "end-sessions": {"userId": _USER},
    "reset-mfa": {"userId": _USER},
    "add-category": {"name": "Cups", "slug": "cups", "description": "To drink from", "parentId": _CATEGORY},
    "update-category": {"categoryId": _CATEGORY, "name": "Cups and mugs", "expectedVersion": 1},
    "remove-category": {"categoryId": _CATEGORY},
    "add-product": {
        "sku": "MUG-BLUE",
        "name": "Blue mug",
        "price": _PRICE,
        "description": "Holds 0.3 l",
        "published": True,
        "categoryIds": [_CATEGORY],
    },
    "update-product": {"productId": _PRODUCT, "description": "Holds 0.4 l", "expectedVersion": 1},
    "reprice-product": {"productId": _PRODUCT, "price": _PRICE, "expectedVersion": 1},
    "publish-product": {"productId": _PRODUCT},
    "withdraw-product": {"productId": _PRODUCT},
    "receive-stock": {"sku": "MUG-BLUE", "quantity": 10, "reference": "delivery note 4711"},
    "adjust-stock": {"sku": "MUG-BLUE", "onHand": 9, "reason": "one broke", "expectedVersion": 2},
    "place-order": {
        "lines": [{"sku": "MUG-BLUE", "quantity": 3}],
        "currency": "GBP",
        "paymentMethod": "pm_card_visa",
    },
    "cancel-order": {"orderId": _ORDER, "reason": "ordered twice"},
    "ship-order": {"orderId": _ORDER, "carrier": "Royal Mail", "trackingNumber": "RM123456789GB"},
    "deliver-order": {"orderId": _ORDER},
    "refund-order": {"orderId": _ORDER, "reason": "arrived broken"},
    "register-webhook": {"url": "https://shop.example/kontor", "types": ["order.placed", "order.shipped"]},
    "update-webhook": {"endpointId": _ENDPOINT, "types": ["*"], "expectedVersion": 1},
    "rotate-webhook-secret": {"endpointId": _ENDPOINT},
    "pause-webhook": {"endpointId": _ENDPOINT, "reason": "maintenance until noon"},
    "resume-webhook": {"endpointId": _ENDPOINT},
    "remove-webhook": {"endpointId": _ENDPOINT},
    "replay-webhook": {"endpointId": _ENDPOINT, "since": 1200, "until": 1800},
    "test-webhook": {"endpointId": _ENDPOINT},
}
