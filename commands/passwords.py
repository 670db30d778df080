"""Which passwords may be set, whatever the scheme they are hashed by: none that is common or says who sets it.

NIST SP 800-63B: a minimum length, no rules of composition, and a list of what is common, expected or compromised.
The list is zxcvbn's (MIT), of passwords that were found in leaks and of common English words and names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Final

from domain.disclosure import Secret
from domain.errors import WeakPassword

# Upper bound, whatever the scheme: argon2 would take any length, bcrypt fails above 72 bytes; NIST SP 800-63B asks for
# at least 64. So the scheme can be changed without anybody's password becoming too long.
PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_BYTES_MAX: Final = 72
# A password that holds words of its context needs so many letters besides them.
LETTERS_BESIDES_MIN: Final = 6
CONTEXT_WORD_LENGTH_MIN: Final = 3
DIFFERENT_MIN: Final = 5
# When a greater share of a password's steps leads to the same or a neighbouring key or letter, it is a walk.
WALK_SHARE_MAX: Final = 0.7
EXPECTED: Final = frozenset(
    "kontor demo admin administrator staff customer analyst integrator user shop store password passwort login welcome"
    " change changeme secret default test example qwerty".split()
)
# Demo data has published passwords; it is never loaded in production, and no other process may set them.
OF_THE_DEMO: Final = "system:demo"
_L33T: Final = (
    str.maketrans("4@83(96!10$57+2", "aabecggiiossttz"),
    str.maketrans("4@83(96!10$57+2", "aabecggllossttz"),
)
_ROWS: Final = ("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")
_WORD: Final = re.compile(r"[^\W_]+")


def require_strong(
    secret: Secret, *, email: str, name: str = "", host: str = "", field: str = "password", actor: str = ""
) -> None:
    """Raises WeakPassword outside 10 characters to 72 bytes, for a common one with whatever is added or replaced in it,
    a walk over the keyboard, and one that is made of the person's address and name, the shop's host or ours."""
    password = Secret(secret).reveal()
    if len(password) < PASSWORD_LENGTH_MIN or len(password.encode()) > PASSWORD_BYTES_MAX:
        raise WeakPassword(
            f"The password has {len(password)} characters; give {PASSWORD_LENGTH_MIN} or more, up to "
            f"{PASSWORD_BYTES_MAX} bytes.",
            field=(field,),
        )
    lowered = password.lower()
    if email and lowered == email:
        raise WeakPassword("The password is the e-mail address; choose another.", field=(field,))
    if actor == OF_THE_DEMO:
        return
    if _is_walk(lowered):
        raise WeakPassword(
            "The password repeats itself or follows the keyboard; choose several words that do not belong together.",
            field=(field,),
        )
    if any(each in _common() for each in _mangled_back(lowered)):
        raise WeakPassword(
            "The password is a common one, or nearly; choose several words that do not belong together.",
            field=(field,),
        )
    words = {*_words(email), *_words(name), *_words(host), *EXPECTED}
    if any(_says_little_else(each, words) for each in (lowered, *(lowered.translate(table) for table in _L33T))):
        raise WeakPassword(
            "The password is made of your name or address, or of words that are expected here; choose others.",
            field=(field,),
        )


@cache
def _common() -> frozenset[str]:
    """What attackers try first. Loaded at the first use: 30,000 passwords and 60,000 words and names."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415  # a megabyte, and most processes set none

    return frozenset(word for words in FREQUENCY_LISTS.values() for word in words) | EXPECTED


def _mangled_back(text: str) -> Iterator[str]:
    """What people begin with: without what is added at the ends, replaced, repeated, or turned round."""
    for plain in (text, *(text.translate(table) for table in _L33T)):
        for each in (plain, plain.strip("0123456789 !?.,;:#*$%&+-_=@()"), _repeated(plain)):
            stripped = re.sub(r"[\W\d_]+$|^[\W\d_]+", "", each)
            yield from (each, stripped, each[::-1], stripped[::-1], _repeated(stripped))
    yield _repeated(re.sub(r"[\W\d_]", "", text))
    core = re.sub(r"[\W\d_]+$|^[\W\d_]+", "", text)
    for table in _L33T:
        yield from (core.translate(table), core.translate(table)[::-1])


def _repeated(text: str) -> str:
    """The part that the text repeats; the text itself where it repeats none."""
    place = (text + text).find(text, 1) if text else 0
    return text[:place] if 0 < place < len(text) else text


def _is_walk(text: str) -> bool:
    if len(set(text)) < DIFFERENT_MIN:
        return True
    steps = [near(one, two) for one, two in pairwise(text)]
    return sum(steps) > WALK_SHARE_MAX * len(steps)


def near(one: str, two: str) -> bool:
    """Is it the same character, the next one, or a neighbouring key?"""
    return abs(ord(one) - ord(two)) <= 1 or two in _neighbours().get(one, "")


@cache
def _neighbours() -> dict[str, str]:
    keys = {key: (row, column) for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)}
    return {
        key: "".join(
            other for other, (below, right) in keys.items() if abs(below - row) <= 1 and abs(right - column) <= 1
        )
        for key, (row, column) in keys.items()
    }


def _words(text: str) -> Iterable[str]:
    """Of an address, a name or a host: each word, and those of a name together."""
    words = [each for each in _WORD.findall(text.lower()) if len(each) >= CONTEXT_WORD_LENGTH_MIN]
    return (*words, *("".join(pair) for pair in pairwise(words)))


def _says_little_else(text: str, words: Iterable[str]) -> bool:
    """Do so few letters stay without the words, read in either direction, that those are the password?"""
    rest = text
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, " ").replace(word[::-1], " ")
    return rest != text and sum(char.isalpha() for char in rest) < LETTERS_BESIDES_MIN
