"""The checkout process manager: what follows from which event, and what is owed to the payment provider. Pure;
`streams.reacting` drives the commands, `streams.effects` what reaches the world.

Its state is the order's, the payment's and the stock items' own. A command that comes late or twice finds the order no
longer PENDING, or nothing held, and changes nothing; what is owed is asked anew whenever something is to be done.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from commands.effects import Dropped, Planned
from commands.inventory import DispatchOrder, ReleaseOrder, ReserveOrders
from domain.identity import OrderId
from domain.inventory import HOLD_S_MAX
from domain.orders import Order, OrderStatus
from domain.payments import Payment, PaymentStatus

EXPIRE: Final = "order.expire"
AUTHORISE: Final = "payment.authorise"
CAPTURE: Final = "payment.capture"
RETURN: Final = "payment.return"

# How long each is tried. Money is authorised for about a week at most providers.
_AUTHORISE_FOR: Final = timedelta(seconds=HOLD_S_MAX)
_MOVE_MONEY_FOR: Final = timedelta(days=7)


# What is reserved in one save: so many orders, or those with so many lines.
_ORDERS_AT_ONCE: Final = 100
_LINES_AT_ONCE: Final = 500


def reservations(events: Iterable[object]) -> list[ReserveOrders]:
    """The orders that were placed, in order, in as few commands as may be."""
    together: list[list[OrderId]] = []
    lines = _LINES_AT_ONCE
    for event in events:
        if isinstance(event, Order.Created):
            if lines >= _LINES_AT_ONCE or len(together[-1]) >= _ORDERS_AT_ONCE:
                together.append([])
                lines = 0
            together[-1].append(OrderId(event.originator_id))
            lines += len(event.lines)
    return [ReserveOrders(order_ids=tuple(order_ids)) for order_ids in together]


def follow_up(event: object) -> ReleaseOrder | DispatchOrder | None:
    """The command that this event calls for, but for reservations."""
    match event:
        case Order.Cancelled() | Order.Rejected():
            return ReleaseOrder(order_id=OrderId(event.originator_id))
        case Order.Shipped():
            return DispatchOrder(order_id=OrderId(event.originator_id))
        case _:
            return None


class PaymentStep(StrEnum):
    """What is to be done at the provider next."""

    AUTHORISE = "AUTHORISE"
    CAPTURE = "CAPTURE"
    VOID = "VOID"
    REFUND = "REFUND"


def owed(order: OrderStatus, payment: PaymentStatus) -> PaymentStep | None:
    """The step that brings a payment to what its order says; None when it is there."""
    match payment, order:
        case ((PaymentStatus.DECLINED | PaymentStatus.VOIDED | PaymentStatus.REFUNDED), _):
            return None
        case PaymentStatus.REQUESTED, OrderStatus.RESERVED:
            return PaymentStep.AUTHORISE
        case PaymentStatus.CAPTURED, (OrderStatus.CANCELLED | OrderStatus.REJECTED | OrderStatus.REFUNDED):
            return PaymentStep.REFUND
        case _, (OrderStatus.CANCELLED | OrderStatus.REJECTED | OrderStatus.REFUNDED):
            return PaymentStep.VOID
        case PaymentStatus.AUTHORISED, (OrderStatus.SHIPPED | OrderStatus.DELIVERED):
            return PaymentStep.CAPTURE
        case _:
            return None


def effects_of(event: object, event_id: UUID, recorded_at: datetime) -> Iterable[Planned | Dropped]:
    """What an event has done in the world beside mails, and what it makes needless."""
    match event:
        case Payment.Created(order_id=order_id):
            yield Planned(
                event_id=event_id, effect=AUTHORISE, subject_id=order_id, give_up_at=recorded_at + _AUTHORISE_FOR
            )
        case Order.Reserved(originator_id=order_id):
            due_at = recorded_at + timedelta(seconds=HOLD_S_MAX)
            yield Planned(event_id=event_id, effect=EXPIRE, subject_id=order_id, due_at=due_at)
        case Order.Confirmed(originator_id=order_id):
            yield Dropped(EXPIRE, order_id)
        case Order.Shipped(originator_id=order_id):
            yield Planned(
                event_id=event_id, effect=CAPTURE, subject_id=order_id, give_up_at=recorded_at + _MOVE_MONEY_FOR
            )
        case Order.Cancelled(originator_id=order_id) | Order.Rejected(originator_id=order_id):
            yield Dropped(EXPIRE, order_id)
            yield Planned(
                event_id=event_id, effect=RETURN, subject_id=order_id, give_up_at=recorded_at + _MOVE_MONEY_FOR
            )
        case Order.Refunded(originator_id=order_id):
            yield Planned(
                event_id=event_id, effect=RETURN, subject_id=order_id, give_up_at=recorded_at + _MOVE_MONEY_FOR
            )
