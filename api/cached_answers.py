"""Answers of GraphQL that are still true, sent again without looking at the question: by its bytes and who asks.

Twice: `FirstLook` is in front of everything and knows requests that nothing would refuse by their heads; of all others,
as those from pages, `CachedAnswers` sees what the checks have let through. What may be kept is decided where it is
made: `api.graphql.serving`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.begun import rest_of
from adapters.response_cache import Answer, Key
from adapters.wiring import Kontor
from api.answer_headers import REQUEST_ID, always, request_id_of
from api.security import Viewer, still_good, viewer_of

QUESTION_BYTES_MAX: Final = 16_384
ACCEPT_BYTES_MAX: Final = 256
LOOK_S_MAX: Final = 1.0  # who is slower is waited for by `api.body_limit`
# How fresh an answer must be is asked with these: it is looked up.
_FRESHNESS: Final = frozenset({b"kontor-consistent-with", b"kontor-wait-ms", b"kontor-require"})
_JUDGED_ELSEWHERE: Final = frozenset({b"origin", b"content-encoding"})
_JSON: Final = b"application/json"
_ID: Final = REQUEST_ID.encode()
_NOTHING: Final = Answer(b"", b"", (), ())


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whose answer may be kept, if it is made of what is read from now on."""

    key: Key
    since: int


class FirstLook:
    """Answers what is kept, where the request is a plain one; says what is left to read of all others.

    `by_origin`: to pages of some sites the same is answered with further headers."""

    def __init__(self, *, path: str, by_origin: bool) -> None:
        self._path = path
        self._varies = [(b"vary", b"Origin")] if by_origin else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send, kontor: Kontor) -> Receive | None:
        """None: it is answered."""
        responses = kontor.responses
        if scope["path"] != self._path or scope["method"] != "POST" or scope["query_string"] or not responses.trusted:
            return receive
        headers = dict(scope["headers"])
        if len(headers) != len(scope["headers"]) or headers.get(b"content-type") != _JSON:
            return receive
        viewer = None if headers.keys() & _JUDGED_ELSEWHERE else _viewer(headers, kontor)
        if viewer is None:
            return receive
        message = await _soon(receive)
        if message is None:
            return receive
        answer = _kept(viewer, headers, message, kontor)
        if answer is _NOTHING:
            return _again(message, receive)
        own = always(request_id_of(headers.get(_ID, b"")), scope["scheme"]) + self._varies
        await _send(send, answer, headers.get(b"if-none-match", b""), own)
        return None


class CachedAnswers:
    """Answers what is kept, or 304 to who has it already; hands on everything else, with `state.asked` for what may be
    kept. Innermost of what surrounds the application."""

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """By the path, the headers, then the body."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        kontor: Kontor = scope["app"].state.kontor
        responses = kontor.responses
        # As `starlette` reads them: the first of each.
        headers = dict(reversed(scope["headers"]))
        viewer = _viewer(headers, kontor) if responses.trusted and not scope["query_string"] else None
        if viewer is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        answer = _kept(viewer, headers, message, kontor)
        if answer is not _NOTHING:
            await _send(send, answer, headers.get(b"if-none-match", b""), [])
            return
        if (key := _key(viewer, headers, message)) and (since := responses.begin(key)) is not None:
            scope.setdefault("state", {})["asked"] = Asked(key, since)
        await self._app(scope, _again(message, receive), send)


async def _soon(receive: Receive) -> Message | None:
    """What is received within LOOK_S_MAX. Most of the time it is there already, and then no timer is made: that costs a
    tenth of such an answer."""
    message: Message
    receiving = cast("Coroutine[Any, Any, Message]", receive())
    try:
        waits_for = receiving.send(None)
    except StopIteration as there:
        message = there.value
        return message
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S_MAX):
            message = await rest_of(receiving, waits_for)
            return message
    return None


def _viewer(headers: Mapping[bytes, bytes], kontor: Kontor) -> Viewer | None:
    """Who asks; None for what is not kept."""
    if headers.keys() & _FRESHNESS:
        return None
    return viewer_of(headers.get(b"authorization"), kontor.access_tokens)


def _key(viewer: Viewer, headers: Mapping[bytes, bytes], message: Message) -> Key | None:
    """None for a question that is not whole, or too large."""
    body: bytes = message.get("body", b"")
    accept = headers.get(b"accept", b"")
    if message.get("more_body") or not 0 < len(body) <= QUESTION_BYTES_MAX or len(accept) > ACCEPT_BYTES_MAX:
        return None
    return (viewer.text, body, accept)


def _kept(viewer: Viewer, headers: Mapping[bytes, bytes], message: Message, kontor: Kontor) -> Answer:
    """What is kept and still true, now that the question is there; _NOTHING without, and for a token that has become
    void meanwhile. Nothing is awaited from here to the answer."""
    key, responses = _key(viewer, headers, message), kontor.responses
    if key is None or not responses.trusted or not still_good(viewer, kontor.access_tokens):
        return _NOTHING
    found = responses.answer(key)
    return _NOTHING if found is None else found


async def _send(send: Send, answer: Answer, known: bytes, own: list[tuple[bytes, bytes]]) -> None:
    """The answer, or 304 to who knows it; with these headers too."""
    same = answer.etag in known
    headers = [*(answer.validators if same else answer.head), *own]
    await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if same else answer.body})


def _again(message: Message, receive: Receive) -> Receive:
    """What was received, then the rest."""
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
