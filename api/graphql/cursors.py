"""Pages by key, not by count: a cursor is the sort key of the last row shown, so any page costs what the first does."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
import strawberry

from domain.errors import Invalid

T = TypeVar("T")
K = TypeVar("K")

PAGE_ROWS_MAX: Final = 100
PAGE_ROWS: Final = 20
COUNT_MAX: Final = 10_000
CURSOR_LENGTH_MAX: Final = 2_000


@strawberry.type(description="Where a page stands among the others.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Is there more after this page?")
    has_previous_page: bool = strawberry.field(description="Is there something before this page?")
    start_cursor: str | None = strawberry.field(description="The cursor of the first row.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last row; pass it as `after`.")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The rows of one page with their cursors."""

    rows: Sequence[T]
    cursors: Sequence[str]
    info: PageInfo


def page_of(rows: Sequence[T], keys: Sequence[tuple[Any, ...]], *, size: int, after: str | None) -> Page[T]:
    """The first `size` of the rows; the caller has read one more, to learn whether there is more."""
    cursors = [encoded(key) for key in keys[:size]]
    info = PageInfo(
        has_next_page=len(rows) > size,
        has_previous_page=after is not None,
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )
    return Page(rows[:size], cursors, info)


def page_size(first: int | None, *, most: int = PAGE_ROWS_MAX, usual: int = PAGE_ROWS) -> int:
    """The number of rows asked for. Raises Invalid outside 1 to `most`."""
    size = usual if first is None else first
    if not 1 <= size <= most:
        raise Invalid(f"first is {size}; ask for 1 to {most} at a time.", field=("first",))
    return size


def encoded(key: tuple[Any, ...]) -> str:
    """The sort key as an opaque cursor."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).decode().rstrip("=")


def decoded(cursor: str, key: type[K]) -> K:
    """The sort key, of the given tuple type. Raises Invalid for a cursor that no page has given out."""
    try:
        if len(cursor) > CURSOR_LENGTH_MAX:
            raise ValueError
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = msgspec.msgpack.decode(raw, type=key)
        if b"\0" in raw and "\\u0000" in msgspec.json.encode(found).decode():  # PostgreSQL has no text with NUL
            raise ValueError
    except (ValueError, msgspec.MsgspecError):
        raise Invalid(
            "This is not a cursor of this list; pass on `pageInfo.endCursor` as it is.", field=("after",)
        ) from None
    return found
