"""Second factors: the vectors of RFC 6238, and each code once."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from adapters.mfa import RECOVERY_CODES, STEP_S, code_at, matching_step, provisioning_uri
from adapters.wiring import Kontor

SECRET = b"12345678901234567890"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
     (2000000000, "69279037"), (20000000000, "65353130")],
)  # fmt: skip
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert code_at(SECRET, seconds // STEP_S, digits=8) == code


@pytest.mark.parametrize(("aside", "known"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_one_step_off(aside: int, known: bool) -> None:
    code = code_at(SECRET, int(NOW.timestamp()) // STEP_S + aside)
    assert (matching_step(SECRET, code, NOW) is not None) is known


@pytest.mark.parametrize("code", ["", "12345", "abcdef", "１２３４５６", "0" * 40])
def test_what_is_no_code_matches_nothing(code: str) -> None:
    assert matching_step(SECRET, code, NOW) is None


def test_the_uri_is_what_authenticators_read() -> None:
    parts = urlsplit(provisioning_uri(SECRET, "ada@example.com"))
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/Kontor:ada%40example.com")
    assert parse_qs(parts.query) == {"secret": ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"], "issuer": ["Kontor"]}


async def enabled(kontor: Kontor) -> tuple[UUID, bytes, tuple[str, ...]]:
    """A person with a second factor that counts: its secret and its recovery codes."""
    user = uuid4()
    uri, recovery = await kontor.ports.mfa.prepare(user, "ada@example.com", now=NOW)
    async with kontor.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO mfa (user_id, secret_sealed, recovery_digests)"
            " SELECT user_id, secret_sealed, recovery_digests FROM prepared_factors WHERE user_id = %s",
            [user],
        )
    return user, secret_in(uri), recovery


def secret_in(uri: str) -> bytes:
    return base64.b32decode(parse_qs(urlsplit(uri).query)["secret"][0])


@pytest.mark.servers
async def test_each_code_is_good_once(kontor: Kontor) -> None:
    mfa, (user, secret, recovery) = kontor.ports.mfa, await enabled(kontor)
    step = int(NOW.timestamp()) // STEP_S
    assert len(set(recovery)) == RECOVERY_CODES
    assert await mfa.take(user, code_at(secret, step), now=NOW)
    assert not await mfa.take(user, code_at(secret, step), now=NOW)
    assert not await mfa.take(user, code_at(secret, step - 1), now=NOW), "an older one is as good as used"
    later = NOW + timedelta(seconds=STEP_S)
    assert await mfa.take(user, f" {code_at(secret, step + 1)} ", now=later)
    assert await mfa.take(user, recovery[3].upper(), now=later)
    assert not await mfa.take(user, recovery[3], now=later)
    assert not await mfa.take(uuid4(), recovery[4], now=later)


@pytest.mark.servers
async def test_only_codes_of_time_confirm_a_factor_each_once_and_none_counts_before(kontor: Kontor) -> None:
    mfa, user, by = kontor.ports.mfa, uuid4(), uuid4()
    uri, recovery = await mfa.prepare(user, "ada@example.com", now=NOW)
    code = code_at(secret_in(uri), int(NOW.timestamp()) // STEP_S)
    assert not await mfa.take(user, code, now=NOW)
    assert not await mfa.take(user, recovery[0], now=NOW)
    assert not await mfa.confirm(user, recovery[0], by=by, prepared_after=NOW, now=NOW)
    assert not await mfa.confirm(uuid4(), code, by=by, prepared_after=NOW, now=NOW)
    assert await mfa.confirm(user, code, by=by, prepared_after=NOW, now=NOW)
    assert not await mfa.confirm(user, code, by=uuid4(), prepared_after=NOW, now=NOW)
    assert not await mfa.take(user, recovery[0], now=NOW), "it counts with the event"


@pytest.mark.servers
async def test_of_many_who_send_one_code_at_once_one_gets_in(kontor: Kontor) -> None:
    mfa, (user, secret, recovery) = kontor.ports.mfa, await enabled(kontor)
    for code in (code_at(secret, int(NOW.timestamp()) // STEP_S), recovery[0]):
        taken = await asyncio.gather(*[mfa.take(user, code, now=NOW) for _ in range(8)])
        assert taken.count(True) == 1


@pytest.mark.servers
async def test_neither_secret_nor_recovery_codes_are_stored_as_they_are(kontor: Kontor) -> None:
    mfa, user = kontor.ports.mfa, uuid4()
    uri, recovery = await mfa.prepare(user, "ada@example.com", now=NOW)
    async with kontor.pool.connection() as connection:
        found = await connection.execute("SELECT m::text FROM prepared_factors m WHERE user_id = %s", [user])
        ((row,),) = await found.fetchall()
    told = [*recovery, *(code.replace("-", "") for code in recovery), parse_qs(urlsplit(uri).query)["secret"][0]]
    assert not any(each.lower() in row.lower() for each in told)
    assert len(set(recovery)) == len(set(row.partition("{")[2].partition("}")[0].split(","))) == RECOVERY_CODES
