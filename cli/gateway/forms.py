"""Form-encoded requests with the provider's brackets: `metadata[order_id]=1&expand[]=latest_charge`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

from cli.gateway.refusals import Refusal

FIELDS_MAX: Final = 200
METADATA_KEYS_MAX: Final = 50
METADATA_KEY_LENGTH_MAX: Final = 40
METADATA_VALUE_LENGTH_MAX: Final = 500
NAMES_KNOWN_MAX: Final = 256
_METADATA: Final = re.compile(r"metadata\[([^\[\]]+)\]")
_EXPAND: Final = re.compile(r"expand\[\d*\]")


@lru_cache(NAMES_KNOWN_MAX)
def _name(text: str) -> str:
    """Clients send the same few names each time, with their brackets escaped."""
    return _value(text)


def _value(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


class Form:
    """The fields of one request, each at most once; raises Refusal for what is not a form."""

    def __init__(self, text: str) -> None:
        given = text.split("&") if text else []
        if len(given) > FIELDS_MAX or not all("=" in field for field in given):
            raise Refusal(400, f"The request is not form-encoded, or has above {FIELDS_MAX} fields: {text[:100]}")
        pairs = [(_name(name), _value(value)) for name, _, value in (field.partition("=") for field in given)]
        self.fields = dict(pairs)
        self.expand = [self.fields.pop(name) for name in list(self.fields) if _EXPAND.fullmatch(name)]
        # Equal requests have equal keys, whatever order their fields came in.
        self.canonical = repr(sorted(pairs))

    def require_known(self, known: Iterable[str]) -> None:
        """Raises Refusal for a field that is not served: better than to pass over what somebody relies on."""
        for name in self.fields:
            if name.partition("[")[0] not in known:
                raise Refusal(
                    400,
                    f"Received unknown parameter: {name}. This development gateway serves a part of the API.",
                    code="parameter_unknown",
                    param=name,
                )

    def required(self, name: str) -> str:
        """The field's text, not empty."""
        if value := self.fields.get(name):
            return value
        raise Refusal(400, f"Missing required param: {name}.", code="parameter_missing", param=name)

    def optional(self, name: str) -> str | None:
        """The field's text, or None."""
        return self.fields.get(name) or None

    def choice(self, name: str, *choices: str) -> str:
        """One of the choices; the first when the field is absent."""
        value = self.fields.get(name, choices[0])
        if value not in choices:
            raise Refusal(400, f"Invalid {name}: must be one of {', '.join(choices)}", param=name)
        return value

    def integer(self, name: str, *, most: int) -> int:
        """1 to `most`."""
        text = self.required(name)
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise Refusal(400, f"Invalid integer: {text[:50]}", code="parameter_invalid_integer", param=name)
        if not 1 <= int(text) <= most:
            raise Refusal(400, f"{name} must be 1 to {most}, it is {text}.", code=f"{name}_invalid", param=name)
        return int(text)

    def metadata(self) -> dict[str, str]:
        """The pairs of `metadata[...]`."""
        found = {match[1]: value for name, value in self.fields.items() if (match := _METADATA.fullmatch(name))}
        longest = max((len(name) for name in found), default=0)
        if (
            len(found) > METADATA_KEYS_MAX
            or longest > METADATA_KEY_LENGTH_MAX
            or max((len(value) for value in found.values()), default=0) > METADATA_VALUE_LENGTH_MAX
        ):
            raise Refusal(
                400,
                f"Metadata takes {METADATA_KEYS_MAX} keys of {METADATA_KEY_LENGTH_MAX} characters with values of"
                f" {METADATA_VALUE_LENGTH_MAX}.",
                param="metadata",
            )
        return found
