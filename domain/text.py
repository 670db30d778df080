"""Text as people type it: trimmed, bounded, without control characters."""

from __future__ import annotations

import unicodedata

from domain.errors import Invalid


def plain_text(value: str, *, field: str, length_max: int, length_min: int = 1) -> str:
    """The trimmed text. Raises Invalid when it is shorter, longer, or holds a control character.

    Control characters are refused and not stripped: NUL cannot be stored by PostgreSQL, and the others
    make two names that look alike."""
    text = value.strip()
    if not length_min <= len(text) <= length_max:
        raise Invalid(f"{field} has {len(text)} characters; give {length_min} to {length_max}.", field=(field,))
    for index, char in enumerate(text):
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t":
            raise Invalid(
                f"{field} holds the control character U+{ord(char):04X} at position {index}; remove it.",
                field=(field,),
            )
    return text
