"""Under which names the API may be asked. A page of another site can give its own name the address of this machine, and
then reads what is served here as if it were its own: the name in `Host` is what tells such a request."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from starlette.types import Scope, Send

from adapters.loopback import is_loopback
from api.rest.problems import problem

HOST_BYTES_MAX: Final = 260  # a name of 253, and a port
JUDGED_MAX: Final = 256
_FORM: Final = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/]+))(:[0-9]{1,5})?")
REFUSAL: Final = (
    "This API is not known by the name in the Host header: ask for it as 127.0.0.1 or localhost, or have the name added"
    " to KONTOR_ALLOWED_HOSTS."
)


class KnownHosts:
    """The names of this machine, and those that are given."""

    def __init__(self, names: Collection[str]) -> None:
        given = frozenset(name.lower() for name in names)

        @lru_cache(maxsize=JUDGED_MAX)
        def judged(value: bytes) -> bool:
            try:
                host = _host_of(value.decode("ascii"))
            except UnicodeDecodeError:
                return False
            return host in given or is_loopback(host)

        self._judged = judged

    def allow(self, scope: Scope) -> bool:
        """Whether the request or handshake names one host, and that one is known."""
        named = [value for name, value in scope["headers"] if name == b"host"]
        return len(named) == 1 and len(named[0]) <= HOST_BYTES_MAX and self._judged(named[0])


async def refuse(scope: Scope, send: Send) -> None:
    """421 to a request, no connection to a handshake."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    answer = problem(421, "UNKNOWN_HOST", REFUSAL)
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


def _host_of(text: str) -> str:
    """Without the port and the brackets of an address; nothing where it is not of that form."""
    found = _FORM.fullmatch(text)
    return "" if found is None else (found["address"] or found["name"]).lower()
