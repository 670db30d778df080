"""What keeps pages of other sites from acting through a visitor's browser.

A page of any site can make a browser send a form or plain text anywhere, without asking: so only JSON is read, which a
browser sends to another site only when that site allows it. A request that says it comes from a page (`Origin`) is
served for this host's own pages and those of the list.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from api.early_refusals import refuse

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_JUDGED: Final = frozenset({b"content-type", b"content-encoding", b"origin", b"host"})


class FromOwnPages:
    """Answers 415 to what is not JSON, 403 to pages of sites that are not in `origins`."""

    def __init__(self, app: ASGIApp, *, paths: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._app = app
        self._paths = paths
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge by the headers alone."""
        if scope["type"] != "http" or scope["method"] in READING or not scope["path"].startswith(self._paths):
            await self._app(scope, receive, send)
            return
        # The first of each, as a list of pairs is read backwards.
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"]) if name in _JUDGED}
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            message = f"The content type is {kind[:100] or 'missing'}; send application/json."
            await refuse(send, status=415, code="UNSUPPORTED_MEDIA_TYPE", message=message, unread=receive)
        elif headers.get(b"content-encoding", "identity").strip().lower() != "identity":
            message = "The body is compressed; send it as it is."
            await refuse(send, status=415, code="UNSUPPORTED_MEDIA_TYPE", message=message, unread=receive)
        elif not self._may_come_from(headers.get(b"origin"), headers.get(b"host")):
            message = "Pages of this origin may not use the API; have it added to KONTOR_ALLOWED_ORIGINS."
            await refuse(send, status=403, code="FORBIDDEN", message=message, unread=receive)
        else:
            await self._app(scope, receive, send)

    def _may_come_from(self, origin: str | None, host: str | None) -> bool:
        if origin is None or origin in self._origins:
            return True
        try:
            return bool(host) and urlsplit(origin).netloc == host
        except ValueError:
            return False
