"""When a follower that stays behind is refilled, and when its worker gives up."""

from __future__ import annotations

import pytest

from streams.patience import (
    FORGOTTEN_AFTER_S,
    JOINING_PATIENCE_S,
    JOINING_S_MAX,
    PATIENCE_S,
    REJOIN_AFTER_S,
    STRAY_PATIENCE_S,
    Patience,
    Unassigned,
)

ORDERS = ("orders", "orders", 3)
MINE = {("orders", 3)}


def test_who_stands_still_on_its_own_partition_is_refilled_up_to_what_is_published() -> None:
    patience = Patience()
    assert patience.lost({ORDERS: (5, 9)}, MINE, 0.0) == {}
    assert patience.lost({ORDERS: (5, 9)}, MINE, PATIENCE_S - 0.1) == {}
    assert patience.lost({ORDERS: (5, 12)}, MINE, PATIENCE_S) == {ORDERS: 12}


def test_who_moves_is_left_alone() -> None:
    patience = Patience()
    for second in range(20):
        assert patience.lost({ORDERS: (second, 100)}, MINE, float(second)) == {}


def test_who_caught_up_meanwhile_starts_anew() -> None:
    patience = Patience()
    patience.lost({ORDERS: (5, 9)}, MINE, 0.0)
    patience.lost({}, MINE, 1.0)
    assert patience.lost({ORDERS: (5, 9)}, MINE, PATIENCE_S) == {}


def joined() -> Patience:
    """Of a worker that has had partitions."""
    patience = Patience()
    patience.lost({}, MINE, 0.0)
    return patience


def test_who_waits_to_be_let_in_refills_soon_and_does_not_give_up() -> None:
    patience = Patience()
    patience.lost({ORDERS: (5, 9)}, set(), 0.0)
    assert patience.lost({ORDERS: (5, 9)}, set(), JOINING_PATIENCE_S - 0.1) == {}
    assert patience.lost({ORDERS: (5, 9)}, set(), JOINING_PATIENCE_S) == {ORDERS: 9}
    assert patience.lost({ORDERS: (5, 12)}, set(), 3 * REJOIN_AFTER_S) == {ORDERS: 12}
    # There is no partition left for it: others read them.
    assert patience.lost({ORDERS: (6, 12)}, set(), JOINING_S_MAX) == {}
    assert patience.lost({ORDERS: (6, 12)}, set(), JOINING_S_MAX + JOINING_PATIENCE_S) == {}


def test_a_partition_of_nobody_is_refilled_too_later() -> None:
    patience = joined()
    patience.lost({ORDERS: (5, 9)}, set(), 0.0)
    assert patience.lost({ORDERS: (5, 9)}, set(), STRAY_PATIENCE_S - 0.1) == {}
    assert patience.lost({ORDERS: (5, 9)}, set(), STRAY_PATIENCE_S) == {ORDERS: 9}


def test_a_partition_that_stays_without_a_reader_ends_the_worker() -> None:
    patience = joined()
    for position, start in enumerate((0.0, REJOIN_AFTER_S / 2)):  # refilled each time, and behind again
        patience.lost({ORDERS: (position, 9)}, set(), start)
        patience.lost({ORDERS: (position, 9)}, set(), start + STRAY_PATIENCE_S)
    patience.lost({ORDERS: (8, 9)}, set(), REJOIN_AFTER_S)
    with pytest.raises(Unassigned, match="orders/3"):
        patience.lost({ORDERS: (8, 9)}, set(), REJOIN_AFTER_S + STRAY_PATIENCE_S)


def test_what_was_long_ago_is_forgotten() -> None:
    patience = joined()
    patience.lost({ORDERS: (1, 9)}, set(), 0.0)
    patience.lost({ORDERS: (1, 9)}, set(), STRAY_PATIENCE_S)
    later = STRAY_PATIENCE_S + FORGOTTEN_AFTER_S + 1
    patience.lost({ORDERS: (2, 9)}, set(), later)
    assert patience.lost({ORDERS: (2, 9)}, set(), later + STRAY_PATIENCE_S) == {ORDERS: 9}
