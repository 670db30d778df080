"""Answers of GraphQL that are still true, sent again without looking at the question: by its bytes and who asks.

Innermost of what surrounds the application, so that whoever may not ask is refused before, and every answer carries
what answers carry. What may be kept is decided where it is made: `api.graphql.serving`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.response_cache import Answer, Key, ResponseCache
from adapters.wiring import Kontor
from api.security import Viewers

QUESTION_BYTES_MAX: Final = 16_384
ACCEPT_BYTES_MAX: Final = 256
# How fresh an answer must be is asked with these: it is looked up.
_FRESHNESS: Final = b"kontor-"
_ALWAYS: Final = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whose answer may be kept, if it is made of what is read from now on."""

    key: Key
    since: int


def validators(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The headers by which a client can ask whether the answer is still the same."""
    return [(b"etag", answer.etag), *_ALWAYS]


class CachedAnswers:
    """Answers what is kept, or 304 to who has it already; hands on everything else, with `state.asked` for what may be
    kept."""

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        self._app = app
        self._path = path
        self._viewers = Viewers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """By the path, the headers, then the body."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        kontor: Kontor = scope["app"].state.kontor
        responses = kontor.responses
        asked = self._asked(scope, kontor) if responses.trusted and not scope["query_string"] else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        viewer, accept, known = asked
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body") or not 0 < len(body) <= QUESTION_BYTES_MAX:
            await self._app(scope, _again(message, receive), send)
            return
        key = (viewer, body, accept)
        # Between this and the answer nothing is awaited that could bring news.
        answer = responses.answer(key) if responses.trusted else None
        if answer is None:
            _note(scope, key, responses)
            await self._app(scope, _again(message, receive), send)
        elif answer.etag in known:
            await send({"type": "http.response.start", "status": 304, "headers": validators(answer)})
            await send({"type": "http.response.body", "body": b""})
        else:
            headers = [
                (b"content-type", answer.content_type),
                (b"content-length", str(len(answer.body)).encode()),
                *validators(answer),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})

    def _asked(self, scope: Scope, kontor: Kontor) -> tuple[str, bytes, bytes] | None:
        """Who asks, what is accepted and what is known already; None for what is not kept."""
        authorization: bytes | None = None
        accept, known = b"", b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"accept":
                if accept:
                    return None
                accept = value
            elif name == b"if-none-match":
                known = value
            elif name.startswith(_FRESHNESS):
                return None
        viewer = self._viewers.of(authorization, kontor.access_tokens)
        return None if viewer is None or len(accept) > ACCEPT_BYTES_MAX else (viewer, accept, known)


def _note(scope: Scope, key: Key, responses: ResponseCache) -> None:
    since = responses.begin(key)
    if since is not None:
        scope.setdefault("state", {})["asked"] = Asked(key, since)


def _again(message: Message, receive: Receive) -> Receive:
    """What was received, then the rest."""
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
