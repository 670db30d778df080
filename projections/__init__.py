"""What one may see: every view. VIEWS is the table of contents; a view's table is in the .sql file beside it."""

from __future__ import annotations

from typing import Any, Final

from projections.catalogue import CATALOGUE
from projections.categories import CATEGORIES
from projections.inventory import STOCK
from projections.order_timeline import ORDER_TIMELINE
from projections.orders import ORDERS
from projections.payments import PAYMENTS
from projections.sales_by_day import SALES_BY_DAY
from projections.sales_by_product import SALES_BY_PRODUCT
from projections.users import USERS
from projections.view import View
from projections.webhooks import WEBHOOKS

VIEWS: Final[dict[str, View[Any]]] = {
    view.name: view
    for view in (
        USERS,
        CATALOGUE,
        CATEGORIES,
        STOCK,
        ORDERS,
        ORDER_TIMELINE,
        PAYMENTS,
        SALES_BY_DAY,
        SALES_BY_PRODUCT,
        WEBHOOKS,
    )
}


def views_of(context: str) -> tuple[View[Any], ...]:
    """The views that follow an aggregate of this context."""
    return tuple(view for view in VIEWS.values() if context in view.contexts)
