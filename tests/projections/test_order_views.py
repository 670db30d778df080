"""What is told of orders beside their present state: their steps, and what was sold of which product."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from domain.identity import product_id
from domain.orders import Order, OrderStatus
from projections.order_timeline import ORDER_TIMELINE, Step
from projections.sales_by_product import SALES_BY_PRODUCT, ProductSale
from tests.given import CUSTOMER_ID, NOW, order_line, placed_order
from tests.projections.test_views import folded


def order(*decisions: tuple[str, dict[str, Any]], placed_at: datetime = NOW) -> Order:
    placed = placed_order(order_line("MUG", 2), order_line("CUP", 3), placed_at=placed_at)
    for decision, arguments in decisions:
        getattr(placed, decision)(**arguments, now=NOW)
    return placed


RESERVE: tuple[str, dict[str, Any]] = ("reserve", {})
CONFIRM: tuple[str, dict[str, Any]] = ("confirm", {"payment_id": None})
SHIP: tuple[str, dict[str, Any]] = ("ship", {"carrier": "Post", "tracking_number": "RM1"})
REFUND: tuple[str, dict[str, Any]] = ("refund", {"reason": "broken", "by": "user:1"})
CANCEL: tuple[str, dict[str, Any]] = ("cancel", {"reason": "no", "by": "user:1"})
REJECT: tuple[str, dict[str, Any]] = ("reject", {"reason": "none left"})


def test_a_timeline_has_every_step_with_what_belongs_to_it() -> None:
    row = folded(ORDER_TIMELINE, order(RESERVE, CONFIRM, SHIP, REFUND))
    assert (row.number, row.customer_id, row.version) == ("K1", CUSTOMER_ID, 5)
    at = [NOW.replace(second=number) for number in range(5)]
    assert row.steps == (
        Step(status=OrderStatus.PENDING, at=at[0], position=101),
        Step(status=OrderStatus.RESERVED, at=at[1], position=102),
        Step(status=OrderStatus.CONFIRMED, at=at[2], position=103),
        Step(status=OrderStatus.SHIPPED, at=at[3], position=104, detail="Post RM1"),
        Step(status=OrderStatus.REFUNDED, at=at[4], position=105, detail="broken"),
    )


@pytest.mark.parametrize(
    ("decisions", "status", "reason"),
    [([CANCEL], OrderStatus.CANCELLED, "no"), ([REJECT], OrderStatus.REJECTED, "none left")],
)
def test_a_timeline_ends_with_the_reason(
    decisions: list[tuple[str, dict[str, Any]]], status: OrderStatus, reason: str
) -> None:
    last = folded(ORDER_TIMELINE, order(*decisions)).steps[-1]
    assert (last.status, last.detail) == (status, reason)


def test_what_was_sold_of_each_product_counts_from_reserved_on() -> None:
    placed = folded(SALES_BY_PRODUCT, order())
    assert placed.lines == (
        ProductSale(product_id=product_id("MUG"), sku="MUG", units=2, revenue_minor=510),
        ProductSale(product_id=product_id("CUP"), sku="CUP", units=3, revenue_minor=765),
    )
    assert not placed.counted
    assert folded(SALES_BY_PRODUCT, order(RESERVE)).counted


@pytest.mark.parametrize("end", [[RESERVE, CANCEL], [REJECT], [RESERVE, CONFIRM, SHIP, REFUND]])
def test_what_was_given_up_counts_no_more(end: list[tuple[str, dict[str, Any]]]) -> None:
    assert not folded(SALES_BY_PRODUCT, order(*end)).counted


def test_a_sale_belongs_to_the_utc_day_it_was_placed() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(-timedelta(hours=1)))
    row = folded(SALES_BY_PRODUCT, order(placed_at=late))
    assert row.day == late.astimezone(UTC).date()
