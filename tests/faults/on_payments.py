"""What is done to the payment provider and to what it tells."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.faults.scene import Scene

# As `POST /_gateway/faults` of the gateway takes them: what is not answered, answered wrongly, or told otherwise.
BAD_DAYS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "webhook_lose", "every": 3},
    {"kind": "webhook_twice", "every": 3},
    {"kind": "webhook_late", "every": 4, "seconds": 2.0},
    {"kind": "webhook_reorder", "every": 5},
    {"kind": "answer", "when": "after", "every": 4, "status": 500},
    {"kind": "answer", "when": "before", "every": 5, "status": 503},
    {"kind": "delay", "every": 6, "seconds": 1.0},
)
LASTS_S: Final = 4.0


async def callbacks_never_come_or_late_twice_and_out_of_order(scene: Scene) -> None:
    """All of it at once, and answers that fail before and after the deed."""
    settings = scene.settings
    url = f"{settings.stripe_url}/_gateway/faults"
    headers = {"Authorization": f"Bearer {settings.stripe_key.get_secret_value()}"}
    try:
        for fault in BAD_DAYS:
            async with scene.http.post(url, json=fault, headers=headers) as answer:
                assert answer.status < 300, await answer.text()
        await asyncio.sleep(LASTS_S)
    finally:
        async with scene.http.delete(url, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
