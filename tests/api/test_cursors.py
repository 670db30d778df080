"""Pages and their cursors."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from api.graphql.cursors import Page, decoded, encoded, page_of, page_size
from domain.errors import Invalid


def test_a_cursor_gives_back_the_key_it_was_made_of() -> None:
    moment, row_id = datetime(2026, 1, 31, 9, 30, 0, 123456, UTC), uuid4()
    assert decoded(encoded((moment, row_id)), tuple[datetime, UUID]) == (moment, row_id)
    assert decoded(encoded(("Ä \\u0000 tea", row_id)), tuple[str, UUID]) == ("Ä \\u0000 tea", row_id)


def forged(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).decode()


@pytest.mark.parametrize("cursor", ["", "x", "é", "!!!", "A" * 3_000, forged(["a"]), forged(["a\0", str(UUID(int=7))])])
def test_a_cursor_that_no_page_gave_out_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="not a cursor"):
        decoded(cursor, tuple[str, UUID])


@pytest.mark.parametrize("first", [0, -1, 101])
def test_a_page_has_1_to_100_rows(first: int) -> None:
    assert (page_size(1), page_size(None), page_size(100)) == (1, 20, 100)
    with pytest.raises(Invalid, match="1 to 100"):
        page_size(first)


def test_the_row_beyond_the_page_only_tells_that_there_is_more() -> None:
    page = page_of(["a", "b", "c"], [("a",), ("b",), ("c",)], size=2, after=None)
    assert (list(page.rows), page.info.has_next_page, page.info.has_previous_page) == (["a", "b"], True, False)
    assert page.info.end_cursor == page.cursors[-1] == encoded(("b",))


def test_an_empty_page_has_no_cursors() -> None:
    page: Page[str] = page_of([], [], size=2, after="x")
    assert (page.info.start_cursor, page.info.has_next_page, page.info.has_previous_page) == (None, False, True)
