"""Text as people type it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.text import plain_text


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("Ada", "Ada"), ("  Ada \n", "Ada"), ("a\n\tb", "a\n\tb"), ("Zoë 🍵", "Zoë 🍵"), ("x" * 10, "x" * 10)],
)
def test_text_is_trimmed_and_otherwise_kept(typed: str, kept: str) -> None:
    assert plain_text(typed, field="name", length_max=10) == kept


@pytest.mark.parametrize("typed", ["", "  ", "x" * 11, "a\0b", "a\x1bb", "a\x7fb", "a\x85b", "a\rb", "a\ud800b"])
def test_text_that_is_too_short_too_long_or_not_printable_is_invalid(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        plain_text(typed, field="name", length_max=10)
    assert refused.value.field == ("name",)


def test_the_message_says_which_character_stands_where() -> None:
    with pytest.raises(Invalid, match=r"U\+001B at position 1"):
        plain_text("a\x1bb", field="name", length_max=10)


def test_the_margins_do_not_count() -> None:
    assert plain_text(" " * 20 + "x" * 10, field="name", length_max=10) == "x" * 10


def test_text_may_be_empty_where_that_is_allowed() -> None:
    assert plain_text(" ", field="description", length_max=10, length_min=0) == ""


@given(st.text())
def test_accepted_text_is_accepted_again_unchanged(typed: str) -> None:
    try:
        text = plain_text(typed, field="name", length_max=20)
    except Invalid:
        return
    assert plain_text(text, field="name", length_max=20) == text
    assert "\0" not in text
    text.encode()
