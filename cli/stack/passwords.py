"""What may be shown of a URL."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"
_BEFORE_THE_HOST: Final = re.compile(r"(?<=:)[^:/@]+(?=@)|(?<=://)(?P<user>[^:@/?#]*):.+(?=@)")
_PARAMETER: Final = re.compile(r"(?i)\b((?:ssl)?password=)[^&\s]+")


def without_password(url: str) -> str:
    """The same text, without what stands between user and host, or as a parameter."""

    def hidden(found: re.Match[str]) -> str:
        return HIDDEN if found["user"] is None else f"{found['user']}:{HIDDEN}"

    return _PARAMETER.sub(rf"\g<1>{HIDDEN}", _BEFORE_THE_HOST.sub(hidden, url))
