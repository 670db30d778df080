"""Posting to webhook endpoints: signatures, addresses, and answers that are late, large or lead elsewhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from adapters.settings import Settings
from adapters.webhook_posting import (
    ANSWER_BYTES_MAX,
    RETRY_AFTER_S_MAX,
    TOLD_CHARS_MAX,
    Answer,
    NotAnswered,
    WebhookPoster,
    signature,
)
from adapters.webhook_secrets import PREFIX
from tests.streams.webhook_receiver import Post, Receiver, receiver, status

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
# What the specification's own libraries are tested with.
REFERENCE_SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REFERENCE_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SECRET = f"{PREFIX}{REFERENCE_SECRET}"


async def post(to: Receiver, *, url: str | None = None, private: bool = True, timeout_s: float = 20) -> Answer:
    async with WebhookPoster(private_addresses=private) as poster:
        return await poster.post(
            url or f"{to.url}/hooks", b'{"a":1}', webhook_id="msg_1", secrets=[SECRET], now=NOW, timeout_s=timeout_s
        )


@pytest.mark.parametrize("secret", [REFERENCE_SECRET, SECRET])
def test_the_signature_is_that_of_the_specification(secret: str) -> None:
    signed = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}', [secret])
    assert signed == REFERENCE_SIGNATURE


def test_there_is_a_signature_for_each_secret() -> None:
    other = f"{PREFIX}b3RoZXI="
    both = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}', [other, SECRET])
    assert both.split(" ")[1] == REFERENCE_SIGNATURE
    assert len(set(both.split(" "))) == 2


async def test_what_is_posted_is_signed_for_its_id_and_time() -> None:
    async with receiver() as receiving:
        answer = await post(receiving)
        (came,) = receiving.posts
    assert (answer.status, answer.taken, answer.text) == (204, True, "")
    assert came.signed_with(SECRET)
    assert (came.id, came.headers["webhook-timestamp"]) == ("msg_1", str(int(NOW.timestamp())))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_where_only_public_addresses_are_posted_to_nobody_connects_to_others(host: str) -> None:
    async with receiver() as receiving:
        url = receiving.url.replace("127.0.0.1", host)
        with pytest.raises(NotAnswered, match="is no public address"):
            await post(receiving, url=url, private=False)
        assert receiving.posts == []


@pytest.mark.parametrize(("environment", "private"), [("development", True), ("production", False)])
def test_private_addresses_are_posted_to_in_development_alone_unless_it_is_said(
    environment: str, private: bool
) -> None:
    given = {"postgres_url": "", "kafka_url": "", "redis_url": "", "master_key": "", "jwt_key": ""}
    settings = Settings.model_validate(given | {"environment": environment})
    assert settings.webhook_private_addresses is private
    said = Settings.model_validate(given | {"environment": environment, "webhook_private_addresses": not private})
    assert said.webhook_private_addresses is not private


async def test_a_redirect_is_not_followed() -> None:
    async with receiver() as receiving:
        receiving.always["/hooks"] = status(307, Location=f"{receiving.url}/elsewhere")
        answer = await post(receiving)
        assert (answer.status, answer.taken) == (307, False)
        assert [each.path for each in receiving.posts] == ["/hooks"]


async def test_who_does_not_answer_in_time_has_not_answered() -> None:
    async with receiver() as receiving:
        receiving.always["/hooks"] = hanging
        with pytest.raises(NotAnswered, match=r"no answer in 0\.3 s"):
            await post(receiving, timeout_s=0.3)


async def hanging(_: Post) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def test_who_is_not_there_has_not_answered() -> None:
    async with receiver() as receiving:
        gone = receiving.url
    with pytest.raises(NotAnswered, match="not reached"):
        await post(receiving, url=gone)


async def test_an_endless_answer_is_read_to_its_bound_and_shown_to_a_smaller_one() -> None:
    sent = 0

    async def endless(_: Post) -> web.StreamResponse:
        class Endless(web.StreamResponse):
            async def prepare(self, request: Any) -> Any:
                nonlocal sent
                writer = await super().prepare(request)
                while sent < 100 * ANSWER_BYTES_MAX:
                    await self.write(b"\x1b[31m" + b"x" * 8_192)
                    sent += 8_197
                return writer

        return Endless(status=500)

    async with receiver() as receiving:
        receiving.always["/hooks"] = endless
        answer = await post(receiving)
    assert (answer.status, len(answer.text), answer.text.isprintable()) == (500, TOLD_CHARS_MAX - 1, True)
    assert sent < 100 * ANSWER_BYTES_MAX


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("999999999999", RETRY_AFTER_S_MAX),
        ("soon", None),
        ("-1", None),
        ("9" * 60, None),
        ("", None),
    ],
)
async def test_an_endpoint_may_say_when_it_wants_to_be_asked_again(header: str, asked_s: float | None) -> None:
    async with receiver() as receiving:
        receiving.always["/hooks"] = status(503, **{"Retry-After": header})
        answer = await post(receiving)
    assert (answer.status, answer.retry_after_s, str(answer)) == (503, asked_s, "answered 503: told 503")
