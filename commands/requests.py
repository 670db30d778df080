"""What is done with every request before anybody decides on it: its texts are checked, its content is digested."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any, Final
from uuid import UUID

from domain.disclosure import Secret, secret_fields
from domain.errors import Invalid

TEXT_LENGTH_MAX: Final = 10_000
_SURROGATE: Final = re.compile("[\\ud800-\\udfff]")


def require_storable(request: Any) -> None:
    """Raises Invalid for a text, anywhere in the request, that no rule of any field could take: above
    TEXT_LENGTH_MAX characters, or with half a surrogate pair, which has no bytes. So handlers may compare, hash and
    quote what they get."""
    for each in fields(request):
        for value in _texts(getattr(request, each.name)):
            name = to_camel(each.name)
            if len(value) > TEXT_LENGTH_MAX:
                raise Invalid(f"{name} has {len(value)} characters; give up to {TEXT_LENGTH_MAX}.", field=(name,))
            if not value.isascii() and _SURROGATE.search(value):
                raise Invalid(f"{name} holds half a surrogate pair, which is no character; remove it.", field=(name,))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from _texts(getattr(value, each.name))


def ids_of(request: Any) -> list[str]:
    """Whom and what the request is about, by its ids."""
    return [str(value) for each in fields(request) if isinstance(value := getattr(request, each.name), UUID)]


def to_camel(name: str) -> str:
    """As the API calls a field: `unitPrice` for `unit_price`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def request_digest(request: Any, *, key: bytes) -> bytes:
    """A keyed digest of the command's content without its secrets, so that equal contents can be told without keeping
    them. A digest of a password, however it is keyed, would let holders of key and table try passwords quickly."""
    # What is left at its default is left out, so that a command may get another field and old keys stay good.
    kind: Any = type(request)
    hidden = secret_fields(kind)
    values = {
        each.name: (getattr(request, each.name), each.default) for each in fields(request) if each.name not in hidden
    }
    told = {name: value for name, (value, default) in values.items() if value != default}
    content = json.dumps(told, sort_keys=True, default=_plain, separators=(",", ":"))
    return hmac.digest(key, content.encode(), "sha256")


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        raise TypeError("A secret enters no digest; declare it as a field of the command itself.")
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
