"""PostgreSQL arrays and rows in the binary wire format, put together from pieces that are packed where they arise.

psycopg dumps a list element by element through its adapters; for the rows of a group commit that was half of the
time of the whole append. Here an array is one `bytes.join`, and what comes again and again (names, topics, actors) is
packed once. A row is its number of fields, and for each its type and its element.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

_HEADER: Final = struct.Struct(">iiIii")  # dimensions, has nulls, element type, length, lower bound
_EMPTY: Final = struct.Struct(">iiI")
_LENGTH: Final = struct.Struct(">i")
_FIELD: Final = struct.Struct(">Ii")  # type, length
_UUID_LENGTH: Final = _LENGTH.pack(16)
_BIGINT: Final = struct.Struct(">iq")
_SMALLINT: Final = struct.Struct(">ih")
_NULL: Final = _LENGTH.pack(-1)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
REPEATED_MAX: Final = 10_000  # actors are as many as users

# The types of pg_type, by their fixed ids.
UUID_OID: Final = 2950
TEXT_OID: Final = 25
BYTEA_OID: Final = 17
SMALLINT_OID: Final = 21
INT_OID: Final = 23
BIGINT_OID: Final = 20
JSONB_OID: Final = 3802
TIMESTAMPTZ_OID: Final = 1184

# As struct formats: a field of such a type in a row, to be given its type, its length and its value.
UUID_FIELD: Final = "Ii16s"
SMALLINT_FIELD: Final = "Iih"
INT_FIELD: Final = "Iii"
BIGINT_FIELD: Final = "Iiq"


@lru_cache(REPEATED_MAX)
def array_header(element_oid: int, count: int) -> bytes:
    """What stands before the `count` packed elements of an array."""
    if not count:
        return _EMPTY.pack(0, 0, element_oid)
    # The server does not believe the mark of nulls but looks: it may stand where there are none.
    return _HEADER.pack(1, 1, element_oid, count, 1)


def array(element_oid: int, count: int, elements: Iterable[bytes]) -> bytes:
    """The array of `count` packed elements; they may come in pieces of any number."""
    return array_header(element_oid, count) + b"".join(elements)


def uuid_element(value: UUID) -> bytes:
    """A packed uuid."""
    return _UUID_LENGTH + value.bytes


def bigint_element(value: int) -> bytes:
    """A packed bigint."""
    return _BIGINT.pack(8, value)


def bytea_element(value: bytes) -> bytes:
    """A packed bytea."""
    return _LENGTH.pack(len(value)) + value


def field(oid: int, value: bytes) -> bytes:
    """A field of a row, of any type."""
    return _FIELD.pack(oid, len(value)) + value


def null_field(oid: int) -> bytes:
    """A field of a row that is null."""
    return _FIELD.pack(oid, -1)


@lru_cache(REPEATED_MAX)
def repeated_text_field(value: str) -> bytes:
    """A text field of those that come again and again."""
    return field(TEXT_OID, value.encode())


def number(value: bytes | None) -> int:
    """An integer of any size as the server sends it; 0 for null."""
    return int.from_bytes(value or b"", "big", signed=True)


def text(value: bytes | None) -> str:
    """A text as the server sends it; "" for null."""
    return (value or b"").decode()


class PackedArray:
    """An array: `data` for a prepared connection; a psycopg cursor takes it for a `%b` that is cast to its type."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class PackedArrayDumper(Dumper):
    """Hands the bytes on; the type comes from the statement's cast."""

    format = pq.Format.BINARY

    def dump(self, obj: PackedArray) -> bytes:
        """The bytes as they are."""
        return obj.data


# The type is ours alone, so every connection may know it.
psycopg.adapters.register_dumper(PackedArray, PackedArrayDumper)


def uuids(values: Sequence[UUID | None]) -> PackedArray:
    """A uuid[]."""
    elements = [_NULL if value is None else uuid_element(value) for value in values]
    return PackedArray(array(UUID_OID, len(values), elements))


def texts(values: Sequence[str]) -> PackedArray:
    """A text[]."""
    return PackedArray(array(TEXT_OID, len(values), [bytea_element(value.encode()) for value in values]))


def smallints(values: Sequence[int]) -> PackedArray:
    """A smallint[]."""
    return PackedArray(array(SMALLINT_OID, len(values), [_SMALLINT.pack(2, value) for value in values]))


def bigints(values: Sequence[int]) -> PackedArray:
    """A bigint[]."""
    return PackedArray(array(BIGINT_OID, len(values), map(bigint_element, values)))


def timestamps(values: Sequence[datetime | None]) -> PackedArray:
    """A timestamptz[]."""
    elements = [_NULL if value is None else bigint_element((value - _EPOCH) // _MICROSECOND) for value in values]
    return PackedArray(array(TIMESTAMPTZ_OID, len(values), elements))
