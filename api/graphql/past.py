"""The past: which moment or version is asked for, and rows as they were then.

Nothing is waited for: the log is never late. Who may see something now may see how it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from adapters.past import row_at
from api.graphql.charging import charge_events
from api.graphql.context import RequestContext
from domain.errors import Invalid
from projections.view import Row, View

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A moment as a position of the log, or a version of one aggregate; one of them is None."""

    position: int | None
    version: int | None

    @classmethod
    async def asked(cls, context: RequestContext, as_of: datetime | None, at_version: int | None) -> Past | None:
        """None where the present is asked for. Raises Invalid for both at once, a moment that is still to come, or a
        version below 1."""
        if as_of is not None and at_version is not None:
            raise Invalid("Give asOf or atVersion, not both: each of them names one state.", field=("atVersion",))
        if at_version is not None:
            if at_version < 1:
                raise Invalid(f"atVersion is {at_version}; the first version is 1.", field=("atVersion",))
            return cls(position=None, version=at_version)
        return None if as_of is None else cls(position=await position_asked(context, as_of), version=None)

    async def row(self, context: RequestContext, view: View[R], row_id: UUID) -> R | None:
        """The row as it was; None where it was not there yet. Raises Invalid like `adapters.past.row_at`."""
        return await _row(context, view, row_id, position=self.position, version=self.version)


async def position_asked(context: RequestContext, as_of: datetime) -> int:
    """How far the log was at that moment. Raises Invalid for a moment that is still to come."""
    now = context.kontor.ports.clock.now()
    if as_of > now:
        raise Invalid(
            f"asOf {as_of.isoformat()} is still to come (it is {now.isoformat()}); give a moment that is past.",
            field=("asOf",),
        )
    return await context.kontor.log.position_at(as_of)


async def row_then(context: RequestContext, view: View[R], row_id: UUID, position: int) -> R | None:
    """The row at a position of the log; None where it was not there yet."""
    return await _row(context, view, row_id, position=position)


async def _row(
    context: RequestContext, view: View[R], row_id: UUID, *, position: int | None = None, version: int | None = None
) -> R | None:
    """Charged by the events that are read."""
    charge = partial(charge_events, context)
    log, kept = context.kontor.log, context.kontor.past_rows
    return await row_at(log, kept, view, row_id, charge=charge, position=position, version=version)
