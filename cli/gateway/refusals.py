"""What the gateway answers instead of doing, in the provider's shape."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An error answer. `kept`: it is the result of the idempotency key, as what was begun is at the provider; what
    only fails to be understood is not."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        kept: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.kept = status, kept
        self.body = {"error": {"type": kind, "message": message, **more}}
