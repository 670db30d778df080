"""The checkout process manager: which command follows from which event. Pure; `streams.checkout` drives it.

Its state is the order's and the stock items' own: a command that comes late or twice finds the order no
longer PENDING, or nothing held, and changes nothing.
"""

from __future__ import annotations

from commands.inventory import DispatchOrder, ReleaseOrder, ReserveOrder
from domain.identity import OrderId
from domain.orders import Order


def follow_up(event: object) -> ReserveOrder | ReleaseOrder | DispatchOrder | None:
    """The command that this event calls for."""
    match event:
        case Order.Created():
            return ReserveOrder(order_id=OrderId(event.originator_id))
        case Order.Cancelled() | Order.Rejected():
            return ReleaseOrder(order_id=OrderId(event.originator_id))
        case Order.Shipped():
            return DispatchOrder(order_id=OrderId(event.originator_id))
        case _:
            return None
