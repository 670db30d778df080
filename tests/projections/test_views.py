"""Each view: which events make which row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from domain import CONTEXT_OF
from domain.catalogue import Category, Product
from domain.identity import CategoryId, OrderId, product_id, stock_item_id
from domain.inventory import StockItem
from domain.money import Money
from domain.orders import Order, OrderStatus
from domain.users import Role, User
from projections import VIEWS, views_of
from projections.catalogue import CATALOGUE, ProductRow
from projections.categories import CATEGORIES, CategoryRow
from projections.inventory import STOCK, StockRow
from projections.orders import ORDERS, OrderRow
from projections.sales_by_day import SALES_BY_DAY, SaleRow
from projections.users import USERS, UserRow
from projections.view import View
from tests.given import CUSTOMER_ID, GBP_2_55, NOW, ORDER_ID, Decision, decide, order_line, placed_order, recorded


def folded(view: View[Any], *aggregates: Any) -> Any:
    """The row after all events of one aggregate."""
    row = None
    for aggregate in aggregates:
        for each in recorded(aggregate.collect_events()):
            row = view.fold(row, each)
    return row


def second(number: int) -> datetime:
    return NOW.replace(second=number)


def user() -> User:
    registered = User.register(
        user_id=CUSTOMER_ID, sealed_email="s1.a", sealed_name="s1.b", roles=(Role.CUSTOMER, Role.STAFF), now=NOW
    )
    # As earlier releases have recorded them.
    registered.trigger_event(User.SignedIn, timestamp=NOW, session_id=UUID(int=1), user_agent="Firefox")
    registered.trigger_event(User.SignInFailed, timestamp=NOW, reason="wrong password")
    return registered


CUPS, HOME = CategoryId(UUID(int=0xC1)), CategoryId(UUID(int=0xC2))


def product(published: bool = True) -> Product:
    return Product.add(
        sku="MUG",
        name="Mug",
        description="Blue",
        price=GBP_2_55,
        category_ids=[CUPS],
        published=published,
        now=NOW,
    )


def category() -> Category:
    added = Category.add(category_id=CUPS, name="Cups", slug="cups", description="Blue", parent_id=None, now=NOW)
    added.update(name="Mugs", now=NOW)
    return added


def stock() -> StockItem:
    item = StockItem.open(sku="MUG", now=NOW)
    item.receive(quantity=10, reference=None, now=NOW)
    item.receive(quantity=5, reference=None, now=NOW)
    item.reserve(order_id=ORDER_ID, quantity=4, expires_at=NOW, now=NOW)
    item.reserve(order_id=OrderId(UUID(int=7)), quantity=3, expires_at=NOW, now=NOW)
    item.refuse(order_id=OrderId(UUID(int=8)), quantity=99, now=NOW)
    item.release(order_id=ORDER_ID, now=NOW)
    item.adjust(on_hand=13, reason="two broke", now=NOW)
    item.dispatch(order_id=OrderId(UUID(int=7)), now=NOW)
    item.reserve(order_id=ORDER_ID, quantity=4, expires_at=NOW, now=NOW)
    item.expire(order_id=ORDER_ID, now=NOW)
    item.reserve(order_id=ORDER_ID, quantity=1, expires_at=NOW, now=NOW)
    return item


def order(*decisions: str, placed_at: datetime = NOW) -> Order:
    placed = placed_order(order_line("MUG", 2), order_line("CUP", 3), placed_at=placed_at)
    for decision in decisions:
        match decision:
            case "reserve":
                placed.reserve(now=NOW)
            case "reject":
                placed.reject(reason="none left", now=NOW)
            case "cancel":
                placed.cancel(reason="no", by="user:1", now=NOW)
    return placed


def test_a_user_is_a_row_that_signing_in_does_not_change() -> None:
    assert folded(USERS, user()) == UserRow(
        id=CUSTOMER_ID,
        email_sealed="s1.a",
        name_sealed="s1.b",
        roles=(Role.CUSTOMER, Role.STAFF),
        created_at=second(0),
        version=3,
        position=103,
    )


@pytest.mark.parametrize("published", [True, False])
def test_a_product_is_a_row(published: bool) -> None:
    assert folded(CATALOGUE, product(published)) == ProductRow(
        id=product_id("MUG"),
        sku="MUG",
        name="Mug",
        description="Blue",
        price_minor=255,
        currency="GBP",
        published=published,
        added_at=second(0),
        category_ids=(CUPS,),
        version=1,
        position=101,
    )


@pytest.mark.parametrize(
    ("decision", "change"),
    [
        (("update", {"name": "Cup"}), {"name": "Cup"}),
        (("update", {"description": ""}), {"description": ""}),
        (("update", {"category_ids": [HOME, CUPS]}), {"category_ids": (HOME, CUPS)}),
        (("update", {"category_ids": []}), {"category_ids": ()}),
        (("reprice", {"price": Money(199, "GBP")}), {"price_minor": 199}),
        (("withdraw", {}), {"published": False}),
    ],
)
def test_a_product_row_follows_what_is_decided(decision: Decision, change: dict[str, Any]) -> None:
    before = folded(CATALOGUE, product())
    assert folded(CATALOGUE, decide(product(), decision)) == replace(before, **change, version=2, position=102)


def test_a_withdrawn_product_is_published_again() -> None:
    assert folded(CATALOGUE, decide(product(), ("withdraw", {}), ("publish", {}))).published


def test_a_row_from_before_there_were_categories_is_in_none() -> None:
    row = msgspec.json.encode(folded(CATALOGUE, product()))
    older = {name: value for name, value in msgspec.json.decode(row).items() if name != "category_ids"}
    assert msgspec.convert(older, ProductRow).category_ids == ()


@pytest.mark.parametrize(
    ("decision", "change"),
    [
        (("update", {"name": "Pots"}), {"name": "Pots"}),
        (("update", {"description": ""}), {"description": ""}),
        (("update", {"parent_id": HOME}), {"parent_id": HOME}),
        (("remove", {}), {"removed": True}),
    ],
)
def test_a_category_row_follows_what_is_decided(decision: Decision, change: dict[str, Any]) -> None:
    before = CategoryRow(id=CUPS, name="Mugs", slug="cups", description="Blue", parent_id=None, version=2, position=102)
    assert folded(CATEGORIES, category()) == before
    assert folded(CATEGORIES, decide(category(), decision)) == replace(before, **change, version=3, position=103)


def test_stock_counts_what_is_there_and_what_is_held() -> None:
    assert folded(STOCK, stock()) == StockRow(
        id=stock_item_id("MUG"), sku="MUG", on_hand=10, reserved=1, version=12, position=112
    )


def test_the_stock_view_and_the_ledger_agree_after_every_event() -> None:
    row, item = None, None
    for each in recorded(stock().collect_events()):
        row, item = STOCK.fold(row, each), each.event.mutate(item)
        assert (row.on_hand, row.reserved, row.version) == (item.on_hand, item.reserved, item.version)


def test_a_placed_order_is_a_pending_row() -> None:
    placed = order(placed_at=NOW - timedelta(days=30))
    lines = placed.lines
    assert folded(ORDERS, placed) == OrderRow(
        id=ORDER_ID,
        number="K1",
        status=OrderStatus.PENDING,
        customer_id=CUSTOMER_ID,
        lines=lines,
        total_minor=5 * 255,
        currency="GBP",
        placed_at=NOW - timedelta(days=30),
        updated_at=second(0),
        version=1,
        position=101,
    )


@pytest.mark.parametrize(
    ("decisions", "status", "reason"),
    [
        (["reserve"], OrderStatus.RESERVED, None),
        (["reject"], OrderStatus.REJECTED, "none left"),
        (["cancel"], OrderStatus.CANCELLED, "no"),
        (["reserve", "cancel"], OrderStatus.CANCELLED, "no"),
    ],
)
def test_an_order_row_shows_how_far_the_order_got(
    decisions: list[str], status: OrderStatus, reason: str | None
) -> None:
    row = folded(ORDERS, order(*decisions))
    assert (row.status, row.reason) == (status, reason)
    assert (row.placed_at, row.updated_at, row.version) == (NOW, second(len(decisions)), 1 + len(decisions))


@pytest.mark.parametrize(
    ("decisions", "counted"),
    [([], False), (["reserve"], True), (["reject"], False), (["cancel"], False), (["reserve", "cancel"], False)],
)
def test_a_sale_counts_from_reserved_on_until_it_is_given_up(decisions: list[str], counted: bool) -> None:
    assert folded(SALES_BY_DAY, order(*decisions)) == SaleRow(
        id=ORDER_ID,
        day=date(2026, 1, 1),
        units=5,
        revenue_minor=5 * 255,
        currency="GBP",
        counted=counted,
        version=1 + len(decisions),
        position=101 + len(decisions),
    )


@pytest.mark.parametrize(
    ("placed_at", "day"),
    [
        (datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), date(2025, 12, 31)),
        (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), date(2025, 12, 31)),
        (datetime(2025, 12, 31, 20, tzinfo=timezone(timedelta(hours=-5))), date(2026, 1, 1)),
    ],
)
def test_the_day_of_a_sale_is_the_utc_day_it_was_placed(placed_at: datetime, day: date) -> None:
    assert folded(SALES_BY_DAY, order(placed_at=placed_at)).day == day


@pytest.mark.parametrize(
    ("view", "aggregate"),
    [
        (USERS, user),
        (CATALOGUE, product),
        (CATEGORIES, category),
        (STOCK, stock),
        (ORDERS, order),
        (SALES_BY_DAY, order),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_fold_says_which_event_it_saw_last(view: View[Any], aggregate: Any) -> None:
    row = None
    for each in recorded(aggregate().collect_events(), first_position=5):
        row = view.fold(row, each)
        assert (row.id, row.version, row.position) == (each.aggregate_id, each.version, each.position)
        assert type(row) is view.row


@pytest.mark.parametrize("view", [CATALOGUE, CATEGORIES, STOCK, ORDERS, SALES_BY_DAY], ids=lambda view: view.name)
def test_a_view_that_misses_the_first_event_fails_loudly(view: View[Any]) -> None:
    aggregates = {"catalogue": decide(product(), ("withdraw", {})), "categories": category(), "stock": stock()}
    events = recorded(aggregates.get(view.name, order("reserve")).collect_events())
    with pytest.raises(AssertionError):
        view.fold(None, events[1])


def test_the_views_of_a_context_are_those_that_follow_its_aggregates() -> None:
    assert {context: [view.name for view in views_of(context)] for context in set(CONTEXT_OF.values())} == {
        "users": ["users"],
        "catalogue": ["catalogue", "categories"],
        "inventory": ["stock"],
        "orders": ["orders", "order_timeline", "sales_by_day", "sales_by_product"],
        "payments": ["payments"],
        "webhooks": ["webhooks"],
        "notifications": [],
    }
    assert views_of("nothing") == ()


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_a_row_has_an_id_a_version_and_a_position(view: View[Any]) -> None:
    assert {"id", "version", "position"} <= set(view.row.__struct_fields__)
    assert view.table == f"{view.name}_v{view.version}"


WHOLE_WAY: list[tuple[Decision, OrderStatus, bool]] = [
    (("reserve", {}), OrderStatus.RESERVED, True),
    (("confirm", {"payment_id": None}), OrderStatus.CONFIRMED, True),
    (("ship", {"carrier": "Post", "tracking_number": "RM1"}), OrderStatus.SHIPPED, True),
    (("deliver", {}), OrderStatus.DELIVERED, True),
    (("refund", {"reason": "broken", "by": "user:1"}), OrderStatus.REFUNDED, False),
]


def test_the_rows_of_an_order_follow_its_whole_way() -> None:
    way = decide(placed_order(), *(decision for decision, _, _ in WHOLE_WAY))
    order_row: Any = None
    sale_row: Any = None
    expected = [(OrderStatus.PENDING, False), *((status, counted) for _, status, counted in WHOLE_WAY)]
    for each, (status, counted) in zip(recorded(way.collect_events()), expected, strict=True):
        order_row, sale_row = ORDERS.fold(order_row, each), SALES_BY_DAY.fold(sale_row, each)
        assert (order_row.status, sale_row.counted) == (status, counted)
    assert (order_row.tracking_number, order_row.reason) == ("RM1", "broken")


GIVEN_UP: dict[str, tuple[list[Decision], OrderStatus, str]] = {
    "rejected after it was reserved": (
        [("reserve", {}), ("reject", {"reason": "declined"})],
        OrderStatus.REJECTED,
        "declined",
    ),
    "cancelled after it was confirmed": (
        [*(decision for decision, _, _ in WHOLE_WAY[:2]), ("cancel", {"reason": "no", "by": "user:1"})],
        OrderStatus.CANCELLED,
        "no",
    ),
    "refunded after it was shipped": (
        [*(decision for decision, _, _ in WHOLE_WAY[:3]), WHOLE_WAY[-1][0]],
        OrderStatus.REFUNDED,
        "broken",
    ),
}


@pytest.mark.parametrize(("decisions", "status", "reason"), GIVEN_UP.values(), ids=GIVEN_UP)
def test_an_order_that_is_given_up_late_is_taken_back_from_the_sales(
    decisions: list[Decision], status: OrderStatus, reason: str
) -> None:
    before = folded(SALES_BY_DAY, decide(placed_order(), *decisions[:-1]))
    after = folded(SALES_BY_DAY, decide(placed_order(), *decisions))
    assert before.counted
    assert after == replace(before, counted=False, version=before.version + 1, position=before.position + 1)
    shown = folded(ORDERS, decide(placed_order(), *decisions))
    assert (shown.status, shown.reason) == (status, reason)
