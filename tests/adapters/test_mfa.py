"""Second factors: the vectors of RFC 6238, and each code once."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

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


@pytest.mark.servers
async def test_each_code_is_good_once(kontor: Kontor) -> None:
    mfa, user = kontor.ports.mfa, uuid4()
    uri, recovery = await mfa.prepare(user, "ada@example.com")
    secret = base64.b32decode(parse_qs(urlsplit(uri).query)["secret"][0])
    step = int(NOW.timestamp()) // STEP_S
    assert len(set(recovery)) == RECOVERY_CODES
    assert await mfa.take(user, code_at(secret, step), now=NOW)
    assert not await mfa.take(user, code_at(secret, step), now=NOW)
    assert not await mfa.take(user, code_at(secret, step - 1), now=NOW), "an older one is as good as used"
    later = NOW + timedelta(seconds=STEP_S)
    assert await mfa.take(user, f" {code_at(secret, step + 1)} ", now=later)
    assert not await mfa.take(user, recovery[3], now=later, recovery=False)
    assert await mfa.take(user, recovery[3].upper(), now=later)
    assert not await mfa.take(user, recovery[3], now=later)
    assert not await mfa.take(uuid4(), recovery[4], now=later)
    await mfa.destroy(user)
    assert not await mfa.take(user, recovery[4], now=later)
