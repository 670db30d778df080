"""The consent handshake of webhook endpoints, and what a test post tells of our own network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from adapters.endpoint_tests import NOT_REACHED, EndpointTests
from adapters.webhook_consents import EndpointConsents, NoConsent
from adapters.webhook_posting import NotAnswered, WebhookPoster
from adapters.wiring import Kontor
from tests.streams.webhook_receiver import receiver

pytestmark = pytest.mark.servers
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORIGIN = "shop.example"


@asynccontextmanager
async def consents_of(kontor: Kontor, *, required: bool = True) -> AsyncIterator[EndpointConsents]:
    async with WebhookPoster(private_addresses=True) as poster:
        yield EndpointConsents(kontor.pool, poster, origin=ORIGIN, required=required)


async def endpoint(kontor: Kontor) -> UUID:
    """The id of one that has a secret, as every endpoint does."""
    endpoint_id, secrets = uuid4(), kontor.ports.webhook_secrets
    await secrets.keep(endpoint_id, secrets.make(), now=NOW)
    return endpoint_id


async def test_an_address_is_asked_once_and_its_consent_is_kept_for_other_processes(kontor: Kontor) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving:
        receiving.consent = ORIGIN.upper()
        async with consents_of(kontor) as consents:
            await asyncio.gather(*(consents.obtain(endpoint_id, f"{receiving.url}/a") for _ in range(8)))
        async with consents_of(kontor) as another_process:
            await another_process.obtain(endpoint_id, f"{receiving.url}/a")
        assert (receiving.asked, receiving.posts) == ([("/a", ORIGIN)], [])


async def test_another_address_of_the_endpoint_is_asked_again(kontor: Kontor) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving, consents_of(kontor) as consents:
        await consents.obtain(endpoint_id, f"{receiving.url}/a")
        receiving.consent = None
        with pytest.raises(NoConsent, match=r"WebHook-Allowed-Origin: shop\.example"):
            await consents.obtain(endpoint_id, f"{receiving.url}/b")


@pytest.mark.parametrize("answered", [None, "", "other.example", "shop.example.evil", "https://shop.example"])
async def test_without_consent_for_this_origin_nothing_is_posted(kontor: Kontor, answered: str | None) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving, consents_of(kontor) as consents:
        receiving.consent = answered
        for _ in range(2):
            with pytest.raises(NoConsent, match="has not agreed to receive posts"):
                await consents.obtain(endpoint_id, receiving.url)


async def test_an_endpoint_that_does_not_know_the_handshake_is_posted_to_where_consent_is_optional(
    kontor: Kontor,
) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving, consents_of(kontor, required=False) as consents:
        receiving.consent = None
        await consents.obtain(endpoint_id, receiving.url)
        receiving.consent = "other.example"
        with pytest.raises(NoConsent):
            await consents.obtain(endpoint_id, f"{receiving.url}/b")


async def test_the_consent_of_an_endpoint_goes_with_its_secret(kontor: Kontor) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving:
        async with consents_of(kontor) as consents:
            await consents.obtain(endpoint_id, receiving.url)
        await kontor.ports.webhook_secrets.destroy(endpoint_id)
        async with consents_of(kontor) as consents:
            await consents.obtain(endpoint_id, receiving.url)
        assert len(receiving.asked) == 2


async def result_of_a_test_post(kontor: Kontor, url: str, *, private: bool) -> tuple[str, float]:
    """What the owner is told of a test post to this address, and after how many seconds."""
    endpoint_id = await endpoint(kontor)
    async with WebhookPoster(private_addresses=private) as poster:
        consents = EndpointConsents(kontor.pool, poster, origin=ORIGIN, required=not private)
        tests = EndpointTests(poster, kontor.ports.webhook_secrets, consents, says_why=private)
        began = asyncio.get_running_loop().time()
        problem = await tests.post(endpoint_id, url, test_id=uuid4(), now=NOW)
        return problem, asyncio.get_running_loop().time() - began


async def test_a_test_post_tells_nothing_of_internal_names_and_ports(kontor: Kontor) -> None:
    async with receiver() as receiving:
        port = receiving.url.rpartition(":")[2]
        internal = [receiving.url, f"http://localhost:{port}", "http://127.0.0.1:1", "https://no-such-name.invalid"]
        answers = [await result_of_a_test_post(kontor, url, private=False) for url in internal]
        assert receiving.posts == receiving.asked == []
    assert {problem for problem, _ in answers} == {NOT_REACHED}
    # All of them are answered after the same whole second, so neither does the time tell them apart.
    assert all(passed_s >= 1 for _, passed_s in answers)


async def test_in_development_a_test_post_says_why_it_was_not_taken(kontor: Kontor) -> None:
    problem, _ = await result_of_a_test_post(kontor, "http://127.0.0.1:1", private=True)
    assert problem.startswith("not reached")


async def test_a_test_post_to_an_endpoint_without_consent_says_what_to_answer(kontor: Kontor) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving, WebhookPoster(private_addresses=True) as poster:
        receiving.consent = None
        consents = EndpointConsents(kontor.pool, poster, origin=ORIGIN, required=True)
        tests = EndpointTests(poster, kontor.ports.webhook_secrets, consents, says_why=False)
        problem = await tests.post(endpoint_id, receiving.url, test_id=uuid4(), now=NOW)
        assert "WebHook-Allowed-Origin: shop.example" in problem
        assert receiving.posts == []


async def test_an_endpoint_that_is_not_there_was_not_asked(kontor: Kontor) -> None:
    endpoint_id = await endpoint(kontor)
    async with receiver() as receiving:
        gone = receiving.url
    async with consents_of(kontor) as consents:
        with pytest.raises(NotAnswered):
            await consents.obtain(endpoint_id, gone)
