"""What was posted to a webhook endpoint, and what became of it; seen by whoever sees the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final

import strawberry

from adapters.deliveries_ledger import STATES
from adapters.deliveries_ledger import Delivery as Row
from adapters.effects_ledger import State

DELIVERIES: Final = 50


@strawberry.enum(description="What became of a delivery.")
class DeliveryState(Enum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


# In the words of the ledger.
_STATES: Final[Mapping[State, DeliveryState]] = {
    "waiting": DeliveryState.PENDING,
    "done": DeliveryState.DELIVERED,
    "given_up": DeliveryState.FAILED,
}


@strawberry.type(description="One event for one endpoint.")
class Delivery:
    id: strawberry.ID = strawberry.field(description="This delivery; a replay of the same event is another.")
    event_id: strawberry.ID = strawberry.field(description="The event's id, which is posted as webhook-id.")
    event_type: str = strawberry.field(description="What happened, like order.placed.")
    state: DeliveryState = strawberry.field(description="What became of it.")
    attempts: int = strawberry.field(description="How often it was posted, or is being posted.")
    last_status: int | None = strawberry.field(description="The HTTP status of the last answer; null without one.")
    next_attempt_at: datetime | None = strawberry.field(
        description="When it is posted next; null when it is not any more. It may wait for its turn, or a resumption."
    )

    @classmethod
    def of(cls, row: Row) -> Delivery:
        """The row as it is shown."""
        return cls(
            id=strawberry.ID(f"{row.stretch_id}-{row.position}"),
            event_id=strawberry.ID(str(row.event_id)),
            event_type=row.event_type,
            state=_STATES[row.state],
            attempts=row.attempts,
            last_status=row.last_status,
            next_attempt_at=row.due_at if row.state == "waiting" else None,
        )


def states_of(state: DeliveryState | None) -> list[State]:
    """In the words of the ledger; all of them for None."""
    return [each for each in STATES if state in (None, _STATES[each])]
