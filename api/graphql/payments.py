"""The payment of an order, as the provider and the checkout left it."""

from __future__ import annotations

import strawberry

from api.graphql.context import RequestContext
from api.graphql.money import Money
from api.graphql.past import row_then
from domain.identity import OrderId, payment_id
from domain.money import Money as DomainMoney
from domain.payments import PaymentStatus
from projections.payments import PAYMENTS

strawberry.enum(PaymentStatus, description="How far a payment got.")


@strawberry.type(description="The money of one order at one provider.")
class Payment:
    id: strawberry.ID = strawberry.field(description="The payment's id.")
    status: PaymentStatus = strawberry.field(description="How far it got.")
    amount: Money = strawberry.field(description="The order's total.")
    provider: str = strawberry.field(description="Who was asked for the money.")
    reference: str | None = strawberry.field(description="The provider's name for it, once the money is held.")


async def payment_of(context: RequestContext, order_id: OrderId, *, then: int | None = None) -> Payment | None:
    """Batched; None before the stock is held, and for an order that is paid outside. Who may see the order, is the
    caller's to know. `then` is a position of the log, for the payment as it was."""
    if then is None:
        row = await context.payments.load(payment_id(order_id))
    else:
        row = await row_then(context, PAYMENTS, payment_id(order_id), then)
    if row is None:
        return None
    return Payment(
        id=strawberry.ID(str(row.id)),
        status=row.status,
        amount=Money.of(DomainMoney(row.amount_minor, row.currency)),
        provider=row.provider,
        reference=row.reference,
    )
