"""What a subscription is charged while it lives: every item costs what the operation costs, from its follower's points.

Who has none left waits for them, and falls behind: then the log's own bound applies (`RESYNC`). Points are taken for a
few items at a time, so that a follower of much does not ask Redis for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from graphql import DocumentNode

from adapters.away import pause
from api.graphql.charging import charge_points
from api.graphql.context import Info, RequestContext
from api.graphql.cost import cost_of

AT_ONCE_MAX: Final = 20  # items that are paid for together; the first few one by one
WAIT_S_MAX: Final = 5.0  # between two looks whether there are points
READ_A_POINT: Final = 1_000  # positions of the log that are looked through for what is rare


@dataclass(slots=True)
class ItemMeter:
    """Of one subscription; `price` is what one item costs. The first item was paid for when it began."""

    context: RequestContext
    price: int
    paid: int = 1
    at_once: int = 1

    @classmethod
    def of(cls, info: Info) -> ItemMeter:
        """Priced by the document, like a query."""
        raw: Any = info._raw_info
        document = DocumentNode(definitions=(raw.operation, *raw.fragments.values()))
        name = raw.operation.name.value if raw.operation.name else None
        return cls(info.context, cost_of(raw.schema, document, name).of(raw.variable_values))

    async def pay(self) -> None:
        """Before an item; waits for the points."""
        if not self.paid:
            await self._wait_for(self.at_once * self.price)
            self.paid = self.at_once
            self.at_once = min(2 * self.at_once, AT_ONCE_MAX)
        self.paid -= 1

    async def pay_for_reading(self, positions: int) -> None:
        """Before the log is looked through. Raises CostLimitExceeded where there are fewer points."""
        await charge_points(self.context, positions // READ_A_POINT, f"looks through {positions} positions of the log")

    async def _wait_for(self, points: int) -> None:
        allowance = self.context.allowance
        while allowance is not None:
            taken = await allowance.take(min(points, allowance.buckets.most))
            if taken.granted:
                return
            await pause(min(taken.wait_s, WAIT_S_MAX))
