"""Answers are kept until what they were made from changes, within bounds, and never when a change may be unknown."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import response_cache
from adapters.response_cache import ENTRY_BYTES, TRUSTED_S, Answer, Key, MadeOf, ResponseCache
from adapters.view_notices import Change, changed, mark_of, moved, read

A, B = UUID(int=0xA), UUID(int=0xB)
QUESTION: Key = ("", b"{ order }", b"")
ANSWER = Answer.of(b'{"data":{}}', b"application/json")


class Clock:
    """Stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def trusted(bytes_max: int = 1_000_000, clock: Clock | None = None) -> ResponseCache:
    cache = ResponseCache(bytes_max, clock or Clock())
    cache.trust()
    return cache


def begun(cache: ResponseCache, key: Key = QUESTION) -> int:
    """As the second one who asks."""
    cache.begin(key)
    since = cache.begin(key)
    assert since is not None
    return since


def of_row(row_id: UUID, table: str = "orders_v1") -> MadeOf:
    made_of = MadeOf()
    made_of.rows(table, [row_id])
    return made_of


def of_table(table: str = "orders_v1") -> MadeOf:
    made_of = MadeOf()
    made_of.whole(table)
    return made_of


def told(*ids: UUID, table: str = "orders_v1") -> Change:
    return Change([table], [mark_of(row_id) for row_id in ids])


EVERYTHING = Change(["orders_v1"], ["*"])


def kept(cache: ResponseCache, made_of: MadeOf, key: Key = QUESTION) -> bool:
    return cache.keep(key, ANSWER, made_of, since=begun(cache, key))


def test_the_first_who_asks_is_only_counted() -> None:
    cache = trusted()
    assert cache.begin(QUESTION) is None
    assert cache.begin(QUESTION) is not None


@pytest.mark.parametrize(
    ("made_of", "change", "voided"),
    [
        (of_row(A), told(A), True),
        (of_row(A), told(B), False),
        (of_row(A), told(A, table="users_v1"), False),
        (of_row(A), EVERYTHING, True),
        (of_table(), told(B), True),
        (of_table(), told(B, table="users_v1"), False),
        (of_table(), EVERYTHING, True),
    ],
)
def test_what_is_changed_is_dropped_and_not_kept_any_more(made_of: MadeOf, change: Change, voided: bool) -> None:
    cache = trusted()
    assert kept(cache, made_of)
    before = begun(cache)
    cache.changed(change)
    assert (cache.answer(QUESTION) is None) == voided
    # Read before the change was told, finished after it.
    assert cache.keep(QUESTION, ANSWER, made_of, since=before) != voided
    assert kept(cache, made_of)


def test_nothing_is_trusted_that_was_not_heard_of_lately() -> None:
    clock = Clock()
    cache = trusted(clock=clock)
    assert kept(cache, of_row(A))
    clock.now += TRUSTED_S
    assert not cache.trusted
    assert not kept(cache, of_row(A))
    cache.trust()
    assert cache.trusted
    assert cache.answer(QUESTION) is ANSWER


def test_a_lost_channel_drops_everything_and_what_was_begun() -> None:
    cache = trusted()
    assert kept(cache, of_row(A))
    before = begun(cache)
    cache.distrust()
    assert (cache.trusted, len(cache), cache.size) == (False, 0, 0)
    cache.trust()
    assert not cache.keep(QUESTION, ANSWER, of_row(A), since=before)
    assert kept(cache, of_row(A))


def test_who_takes_so_long_that_changes_are_forgotten_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_cache, "NOTICES_MAX", 3)
    cache = trusted()
    before = begun(cache)
    for _ in range(3):
        cache.changed(told(B))
    assert cache.keep(QUESTION, ANSWER, of_row(A), since=before)
    cache.changed(told(B))
    assert not cache.keep(QUESTION, ANSWER, of_row(A), since=before)


def test_the_least_recently_asked_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_cache, "ENTRIES_MAX", 2)
    cache = trusted()
    first, second, third = [("", str(n).encode(), b"") for n in range(3)]
    assert kept(cache, of_row(A), first)
    assert kept(cache, of_row(A), second)
    cache.answer(first)
    assert kept(cache, of_row(A), third)
    assert [cache.answer(key) is not None for key in (first, second, third)] == [True, False, True]


def test_bytes_are_bounded_whatever_is_kept() -> None:
    most = 20 * ENTRY_BYTES
    cache = trusted(most)
    for n in range(1_000):
        kept(cache, of_row(uuid4()), ("", f"{n}".encode(), b""))
        assert cache.size <= most
    assert len(cache) > 5
    large = Answer.of(b"x" * (most // 8), b"application/json")
    assert not cache.keep(QUESTION, large, of_row(A), since=begun(cache))
    assert not kept(cache, MadeOfMany(), QUESTION)


class MadeOfMany(MadeOf):
    """Of more rows than anybody counts."""

    def __init__(self) -> None:
        super().__init__()
        self.rows("orders_v1", [uuid4() for _ in range(response_cache.TAGS_MAX)])


def test_a_size_of_zero_turns_it_off() -> None:
    cache = trusted(0)
    assert not cache.trusted
    cache.changed(told(A))
    assert not kept(cache, of_row(A))


def test_nothing_is_left_of_what_was_dropped() -> None:
    cache = trusted()
    assert kept(cache, of_row(A))
    assert kept(cache, of_table("users_v1"), ("", b"other", b""))
    cache.changed(told(A))
    cache.changed(told(A, table="users_v1"))
    assert (len(cache), cache.size, cache._by_tag) == (0, 0, {})


ids = st.integers(0, 900).map(lambda count: [uuid4() for _ in range(count)])
moves = st.lists(
    st.tuples(st.sampled_from(["orders_v1", "checkout"]), st.just("orders"), st.integers(0, 11), st.integers(0, 2**40)),
    min_size=1,
)


@settings(max_examples=50, deadline=None)
@given(moves, ids, st.integers(1, 3))
def test_a_notice_fits_and_tells_at_least_what_changed(
    moves: list[tuple[str, str, int, int]], ids: list[UUID], tables: int
) -> None:
    names = [f"view_{n}" for n in range(tables)]
    payload = moved(moves, names, ids)
    assert len(payload.encode()) < 8_000
    notice = read(payload)
    if not notice.generations:
        assert notice.positions == [((view, context, shard), at) for view, context, shard, at in moves]
        ((tables_told, marks),) = [(change.tables, change.marks) for change in notice.changes]
        assert tables_told == names
        assert list(marks) == ["*"] or {mark_of(each) for each in ids} <= set(marks)


def test_what_is_too_long_to_be_told_is_looked_up() -> None:
    many = [("a_view_of_a_long_name_v12", "orders", shard % 12, 10**12 + shard) for shard in range(400)]
    assert read(moved(many)).generations
    assert read(moved(many, ["orders_v1"], [A])).generations
    assert read(changed(["orders_v1"], None)).changes == [Change(["orders_v1"], ["*"])]
