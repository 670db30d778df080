"""How far each stored or received text may spread: every field of a command and of an event says so by its type.

`Plain` text may be stored, logged and published. `Personal` text describes a person: it is sealed before it is stored.
`Sealed` text is such a token. A `Secret` lets its holder in: it is compared or hashed, and stored nowhere else.
Ids, numbers, amounts, moments, booleans and enumerations are plain by their type.
"""

from __future__ import annotations

import hmac
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum, StrEnum
from functools import cache
from typing import Annotated, Any, Final, NoReturn, Union
from uuid import UUID


class Disclosure(Enum):
    """How far a text may spread."""

    PLAIN = "plain"
    PERSONAL = "personal"
    SEALED = "sealed"
    SECRET = "secret"  # noqa: S105  # the name of a class of texts


class PersonalField(StrEnum):
    """Where a sealed text belongs: the aggregate or table, and its field. A token opens there and nowhere else, so the
    names are stored for ever."""

    USER_EMAIL = "user.email"
    USER_NAME = "user.name"
    ORDER_REASON = "order.reason"
    MFA_SECRET = "mfa.secret_sealed"  # noqa: S105  # the name of a column


Plain = Annotated[str, Disclosure.PLAIN]
Personal = Annotated[str, Disclosure.PERSONAL]
Sealed = Annotated[str, Disclosure.SEALED]
HIDDEN: Final = "<secret>"
# What these are called is a secret, whatever their type claims; see `require_classified`.
SECRET_NAMES: Final = ("password", "token", "secret", "code", "refresh", "passphrase", "credential", "recovery")


class Secret:
    """A password, token or code: shown, formatted, serialised, pickled or logged it is `HIDDEN` or an error.

    Compares in constant time. `Secret(Secret("x"))` is `Secret("x")`."""

    __slots__ = ("_text",)
    __hash__ = None  # type: ignore[assignment]  # a set of secrets would be searched in other than constant time

    def __init__(self, text: str | Secret) -> None:
        self._text: str = text._text if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """The text itself: only for what hashes, compares or encrypts it, or hands it to its owner."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, _spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(errors="replace"), other._text.encode(errors="replace"))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled or copied; pass it on as it is.")

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __copy__(self) -> Secret:
        return self


def hidden_repr(holder: object) -> str:
    """A `__repr__` for what holds secrets in clear on their way to or from their owner."""
    return f"{type(holder).__name__}({HIDDEN})"


class KeepsSecrets:
    """A command with secrets. What comes as text becomes a Secret when the command is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name in secret_fields(kind):
            text = getattr(self, name)
            if isinstance(text, str):
                object.__setattr__(self, name, Secret(text))


@dataclass(frozen=True, slots=True)
class Classified:
    """A text field at its place in a dataclass: `lines.sku`."""

    place: str
    disclosure: Disclosure


@cache
def secret_fields(kind: Any) -> tuple[str, ...]:
    """The names of the dataclass's own fields that hold a Secret."""
    hints = typing.get_type_hints(kind)
    return tuple(each.name for each in fields(kind) if Secret in _alternatives(hints[each.name]))


def classified(kind: Any, hints: dict[str, Any] | None = None) -> Iterator[Classified]:
    """Every text of the dataclass, and of the dataclasses in it, with its class.

    Raises TypeError for a text without class, for a field that is named like a secret and is none, and for a type
    that is not known here."""
    if hints is None:
        hints = typing.get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        for each in _of(hint, f"{kind.__qualname__}.{name}"):
            if each.disclosure is not Disclosure.SECRET and _sounds_secret(name):
                raise TypeError(f"{each.place} is named like a secret; make it a Secret, or name it for what it is.")
            yield each


def _of(hint: Any, place: str) -> Iterator[Classified]:
    """The texts of one field's type."""
    if hint is Secret:
        yield Classified(place, Disclosure.SECRET)
    elif typing.get_origin(hint) is Annotated:
        yield Classified(place, _marked(hint, place))
    elif hint is str:
        raise TypeError(f"{place} is a text without a class; make it Plain, Personal, Sealed or Secret.")
    elif typing.get_origin(hint) in (tuple, dict, list, frozenset, Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _of(part, place)
    elif hasattr(hint, "__supertype__"):
        yield from _of(hint.__supertype__, place)
    elif isinstance(hint, type) and is_dataclass(hint):
        for each in classified(hint):
            yield Classified(f"{place} > {each.place}", each.disclosure)
    elif not _is_plain(hint):
        raise TypeError(f"{place} is of the type {hint!r}, which has no class; say in domain.disclosure what it is.")


def _marked(hint: Any, place: str) -> Disclosure:
    for mark in typing.get_args(hint)[1:]:
        if isinstance(mark, Disclosure):
            return mark
    raise TypeError(f"{place} is annotated with no class; make it Plain, Personal, Sealed or Secret.")


def _is_plain(hint: Any) -> bool:
    if hint is Ellipsis or hint is type(None):
        return True
    return isinstance(hint, type) and issubclass(hint, UUID | int | float | bool | datetime | Enum)


def _sounds_secret(name: str) -> bool:
    return any(word in SECRET_NAMES for word in name.lower().split("_"))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is Union
    return typing.get_args(hint) if is_union else (hint,)
