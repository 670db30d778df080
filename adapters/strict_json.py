"""JSON that comes from outside, read by one function at every door: within bounds, or refused with the reason.

What two readers could understand differently is refused: a name twice in one object, half a surrogate pair, NaN, a byte
order mark. Nothing deeper than DEPTH_MAX and no integer beyond 64 bits gets further.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")
DEPTH_MAX: Final = 64
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1


class NotStrictJson(ValueError):
    """What was sent is not JSON as it is taken here; the message is for the sender and repeats nothing of it."""


def decoded(data: bytes | str, *, bytes_max: int) -> dict[str, Any]:
    """The object. Raises NotStrictJson for everything else, also for one of more than `bytes_max` bytes."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > bytes_max:
        raise NotStrictJson(f"The JSON has {len(raw)} bytes; at most {bytes_max} are taken.")
    try:
        found = msgspec.json.decode(raw)
    except RecursionError:
        raise NotStrictJson(f"The JSON is nested deeper than {DEPTH_MAX} levels.") from None
    except UnicodeDecodeError:
        raise NotStrictJson("The JSON is not UTF-8.") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotStrictJson(f"This is not JSON: {str(error)[:200]}.") from None
    if not isinstance(found, dict):
        raise NotStrictJson("The JSON is not an object, like {...}.")
    if _names(found) != _written_names(raw):
        raise NotStrictJson("The JSON has a name twice in one object.")
    return found


def decoded_as(kind: type[T], data: bytes | str, *, bytes_max: int) -> T:
    """The object as this type. Raises NotStrictJson as `decoded` does, and for an object of another shape."""
    try:
        return msgspec.convert(decoded(data, bytes_max=bytes_max), kind)
    except msgspec.ValidationError as error:
        raise NotStrictJson(f"The JSON has another shape: {str(error)[:200]}.") from None


def _names(found: dict[str, Any]) -> int:
    """How many names its objects have. Raises NotStrictJson beyond the bounds."""
    names, level = 0, list[Any]([found])
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is dict:
                names += len(each)
                below += each.values()
            elif kind is list:
                below += each
            elif kind is int and not INTEGER_MIN <= each <= INTEGER_MAX:
                raise NotStrictJson("The JSON has an integer of more than 64 bits.")
        if not below:
            return names
        level = below
    raise NotStrictJson(f"The JSON is nested deeper than {DEPTH_MAX} levels.")


def _written_names(raw: bytes) -> int:
    """How many names are written in JSON that is valid: its colons, without those between quotes."""
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(unescaped.split(b'"')[::2]).count(b":")
