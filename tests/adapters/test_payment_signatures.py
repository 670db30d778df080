"""What the payment provider tells is believed when it is signed with our secret, and only for a while."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from adapters.payment_gateway import SIGNATURE_TOLERANCE_S, BadSignature, verify_signature
from cli.gateway.deliveries import signature

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BODY, SECRET = b'{"id":"evt_1"}', "whsec_1"


def signed(body: bytes = BODY, *, at: datetime = NOW, secret: str = SECRET) -> str:
    moment = int(at.timestamp())
    return f"t={moment},v1={hmac.new(secret.encode(), b'%d.' % moment + body, hashlib.sha256).hexdigest()}"


def test_signatures_are_those_of_the_providers_own_library() -> None:
    now = datetime.now(UTC)
    theirs = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET)
    verify_signature(BODY, theirs, SECRET, now=now)
    ours = signature(BODY, SECRET, now=int(now.timestamp()))
    assert stripe.WebhookSignature.verify_header(BODY, ours, SECRET, tolerance=SIGNATURE_TOLERANCE_S)


@pytest.mark.parametrize("drift_s", [0, SIGNATURE_TOLERANCE_S, -SIGNATURE_TOLERANCE_S])
def test_a_signature_is_good_within_the_tolerance(drift_s: int) -> None:
    verify_signature(BODY, signed(at=NOW + timedelta(seconds=drift_s)), SECRET, now=NOW)


@pytest.mark.parametrize("drift_s", [SIGNATURE_TOLERANCE_S + 1, -SIGNATURE_TOLERANCE_S - 1])
def test_a_signature_outside_the_tolerance_is_refused(drift_s: int) -> None:
    with pytest.raises(BadSignature, match="300 s are allowed"):
        verify_signature(BODY, signed(at=NOW + timedelta(seconds=drift_s)), SECRET, now=NOW)


def test_one_good_signature_of_several_is_enough() -> None:
    header = signed()
    moment, good = header.split(",")
    verify_signature(BODY, f"{moment},v0=1,v1={'0' * 64},{good}", SECRET, now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1",
        "v1=1",
        signed().replace("v1", "v0"),
        signed(b"other"),
        signed(secret="whsec_2"),
        "t=now," + signed().split(",")[1],
        signed().replace("t=", "t=0,t="),
        signed()[:-1],
        "t=" + "9" * 50 + ",v1=1",
        "t=1,v1=\N{LATIN SMALL LETTER U WITH DIAERESIS}",
    ],
)
def test_what_is_not_signed_with_our_secret_is_refused(header: str | None) -> None:
    with pytest.raises(BadSignature):
        verify_signature(BODY, header, SECRET, now=NOW)
