"""PostgreSQL arrays in the binary wire format, put together from elements that are packed where they arise.

psycopg dumps a list element by element through its adapters; for the arrays of a group commit that was half of the
time of the whole append. Here an array is one `bytes.join` of elements, and elements that come again and again
(names, topics, small numbers) are packed once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

_HEADER: Final = struct.Struct(">iiIii")  # dimensions, has nulls, element type, length, lower bound
_EMPTY: Final = struct.Struct(">iiI")
_LENGTH: Final = struct.Struct(">i")
_UUID_LENGTH: Final = _LENGTH.pack(16)
_SMALLINT: Final = struct.Struct(">ih")
_INT: Final = struct.Struct(">ii")
_BIGINT: Final = struct.Struct(">iq")
REPEATED_MAX: Final = 10_000  # actors are as many as users

# The element types of pg_type, by their fixed ids.
OIDS: Final = {"uuid": 2950, "text": 25, "bytea": 17, "smallint": 21, "int": 23, "bigint": 20}


class PackedArray:
    """An array as it goes over the wire. Give it to a `%b` placeholder that is cast to the array's type."""

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


def array(element_type: str, count: int, elements: Iterable[bytes]) -> PackedArray:
    """The array of `count` packed elements; they may come in pieces of any number."""
    if not count:
        return PackedArray(_EMPTY.pack(0, 0, OIDS[element_type]))
    # The server does not believe the mark of nulls but looks: it may stand where there are none.
    return PackedArray(_HEADER.pack(1, 1, OIDS[element_type], count, 1) + b"".join(elements))


NULL: Final = _LENGTH.pack(-1)


def uuid_element(value: UUID) -> bytes:
    """A packed uuid."""
    return _UUID_LENGTH + value.bytes


def bytea_element(value: bytes) -> bytes:
    """A packed bytea."""
    return _LENGTH.pack(len(value)) + value


@lru_cache(REPEATED_MAX)
def repeated_text_element(value: str) -> bytes:
    """A packed text of those that come again and again."""
    return bytea_element(value.encode())


@lru_cache(REPEATED_MAX)
def smallint_element(value: int) -> bytes:
    """A packed smallint."""
    return _SMALLINT.pack(2, value)


@lru_cache(REPEATED_MAX)
def int_element(value: int) -> bytes:
    """A packed integer of those that come again and again."""
    return _INT.pack(4, value)


def bigint_element(value: int) -> bytes:
    """A packed bigint."""
    return _BIGINT.pack(8, value)
