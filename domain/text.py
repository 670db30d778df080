"""Text as people type it: trimmed, bounded, without control characters."""

from __future__ import annotations

import re
from typing import Final

from domain.errors import Invalid

# Unicode's categories Cc and Cs, but for line feed and tab.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain_text(value: str, *, field: str, length_max: int, length_min: int = 1) -> str:
    """The trimmed text. Raises Invalid when it is shorter, longer, or holds a control character.

    Control characters are refused and not stripped: NUL cannot be stored by PostgreSQL, and the others
    make two names that look alike."""
    text = value.strip()
    if not length_min <= len(text) <= length_max:
        raise Invalid(f"{field} has {len(text)} characters; give {length_min} to {length_max}.", field=(field,))
    # The search looks at every character for itself; what can be printed, as nearly every text, holds none.
    if not text.isprintable() and (found := _CONTROL.search(text)):
        raise Invalid(
            f"{field} holds the control character U+{ord(found.group()):04X} at position {found.start()}; remove it.",
            field=(field,),
        )
    return text
