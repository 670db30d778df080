"""How passwords are hashed, as one line of text: `argon2id:m=65536,t=3,p=4` or `bcrypt:12`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ARGON2: Final = re.compile(r"argon2id:m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})")
_BCRYPT: Final = re.compile(r"bcrypt:(\d{1,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2:
    """argon2id (RFC 9106)."""

    memory_kib: int
    passes: int
    lanes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bcrypt:
    """bcrypt; each round more takes twice as long."""

    rounds: int


PasswordScheme = Argon2 | Bcrypt


def password_scheme(text: str) -> PasswordScheme:
    """Raises ValueError for another text, and for figures with which nothing can be hashed or an hour is not enough."""
    if found := _ARGON2.fullmatch(text):
        memory_kib, passes, lanes = map(int, found.groups())
        if 1 <= lanes <= 16 and 8 * lanes <= memory_kib <= 1_048_576 and 1 <= passes <= 20:
            return Argon2(memory_kib=memory_kib, passes=passes, lanes=lanes)
    elif (found := _BCRYPT.fullmatch(text)) and 4 <= (rounds := int(found[1])) <= 17:
        return Bcrypt(rounds=rounds)
    raise ValueError(
        "give argon2id:m=KIB,t=PASSES,p=LANES (up to 16 lanes, 8 KiB a lane to 1 GiB, up to 20 passes) or "
        "bcrypt:ROUNDS (4 to 17)"
    )
