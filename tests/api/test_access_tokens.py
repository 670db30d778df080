"""Access tokens under attack: nothing but an unchanged, present token of one of our keys is believed."""

from __future__ import annotations

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters import access_tokens
from adapters.access_tokens import ACCESS_TOKEN_S, ISSUER, TOKEN_LENGTH_MAX, AccessTokens, decoded_seeds, key_id
from api.security import actor_of
from domain.errors import Unauthenticated
from domain.users import Role

SEED = b"k" * 32
TOKENS = AccessTokens(SEED)
PRIVATE = Ed25519PrivateKey.from_private_bytes(SEED)
THEIRS = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
RAW = PRIVATE.public_key().public_bytes_raw()
PEM = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
KID = key_id(SEED)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changed: Any) -> dict[str, Any]:
    """Of a good token; None leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": ISSUER, "sub": str(uuid4()), "sid": str(uuid4()), "roles": ["ADMIN"], "iat": now}
    return {name: value for name, value in (good | {"exp": now + 60} | changed).items() if value is not None}


def token(header: dict[str, Any] | None = None, *, key: Ed25519PrivateKey = PRIVATE, **changed: Any) -> str:
    """Signed by hand, so that the header says what an attacker wants."""
    content = f"{part({'alg': 'EdDSA', 'typ': 'JWT', 'kid': KID} | (header or {}))}.{part(claims(**changed))}"
    return f"{content}.{part(key.sign(content.encode()))}"


def with_secret(secret: bytes, algorithm: str = "HS256") -> str:
    """What a verifier takes that uses the public key as a shared secret."""
    content = f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': KID})}.{part(claims())}"
    return f"{content}.{part(hmac.digest(secret, content.encode(), algorithm.replace('HS', 'sha')))}"


def unsigned(algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': KID})}.{part(claims())}."


OUR_JWK = {"kty": "OKP", "crv": "Ed25519", "x": part(THEIRS.public_key().public_bytes_raw())}
NOW = int(time.time())
ATTACKS = {
    **{f"alg {algorithm}": unsigned(algorithm) for algorithm in ("none", "None", "NONE", "nOnE", "", "EdDSA")},
    "public key as secret, raw": with_secret(RAW),
    "public key as secret, PEM": with_secret(PEM),
    "public key as secret, base64": with_secret(part(RAW).encode()),
    "public key as secret, HS512": with_secret(PEM, "HS512"),
    "empty secret": with_secret(b""),
    "another algorithm said": token({"alg": "ES256"}),
    "another key": token(key=THEIRS),
    "another key, its own kid": token({"kid": key_id(b"x" * 32)}, key=THEIRS),
    "another key, jwk": token({"jwk": OUR_JWK}, key=THEIRS),
    "another key, jku": token({"jku": "https://attacker.example/jwks.json"}, key=THEIRS),
    "another key, x5u": token({"x5u": "https://attacker.example/cert.pem"}, key=THEIRS),
    "no kid": token({"kid": None}),
    **{f"kid {kid!r}": token({"kid": kid}, key=THEIRS)
       for kid in ("../../../../dev/null", "/etc/passwd", "' OR '1'='1", "x'; DROP TABLE sessions; --", "", "\0",
                   KID + " ", KID.upper(), 5, True, [KID], {"a": KID})},
    "crit": token({"crit": ["exp"], "b64": False}),
    "expired": token(exp=NOW - 1),
    "never expires": token(exp=None),
    "expires in words": token(exp="tomorrow"),
    "issued in the future": token(iat=NOW + 3_600),
    "not yet": token(nbf=NOW + 3_600),
    "another audience": token(aud="shop"),
    "no audience": token(aud=None),
    "another issuer": token(iss="https://attacker.example"),
    "no issuer": token(iss=None),
    "nobody": token(sub=None),
    "no session": token(sid=None),
    "subject is no id": token(sub="1; DROP TABLE users"),
    "an unknown role": token(roles=["GOD"]),
    "roles are no list": token(roles=5),
    "claims are no object": f"{part({'alg': 'EdDSA', 'kid': KID})}.{part([1])}.{part(b'x' * 64)}",
    "header is no object": f"{part([1])}.{part(claims())}.{part(b'x' * 64)}",
    "nested header": f"{part(b'[' * 2_000)}.{part(claims())}.{part(b'x' * 64)}",
    "truncated": token()[:-10],
    "without signature": token().rpartition(".")[0],
    "with another payload": ".".join([token().split(".")[0], part(claims(roles=["STAFF"])), token().split(".")[2]]),
    "100 KB": token(padding="x" * 100_000),
    "100 KB of dots": "." * 100_000,
    "no text": "\ud800\udfff",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_token_that_is_not_ours_and_good_is_refused(attack: str) -> None:
    with pytest.raises(Unauthenticated, match="not valid or has expired"):
        actor_of(f"Bearer {attack}", TOKENS)


def test_the_attacks_differ_from_a_good_token_only_where_they_say() -> None:
    actor, _ = actor_of(f"Bearer {token()}", TOKENS)
    assert actor.roles == frozenset({Role.ADMIN})


def test_no_attack_makes_more_work_than_one_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, verify = [], jwt.algorithms.OKPAlgorithm.verify

    def counted(self: Any, *given: Any) -> bool:
        checked.append(len(given[0]))
        return verify(self, *given)

    monkeypatch.setattr(jwt.algorithms.OKPAlgorithm, "verify", counted)
    for name, attack in ATTACKS.items():
        checked.clear()
        with pytest.raises(Unauthenticated):
            TOKENS.verify(attack)
        assert len(checked) <= 1, name
        assert not checked or checked[0] <= TOKEN_LENGTH_MAX, name


def test_what_the_key_before_signed_is_good_until_it_is_taken_away() -> None:
    old, new, now = b"o" * 32, b"n" * 32, datetime.now(UTC)
    before, meanwhile, after = AccessTokens(old, new), AccessTokens(new, old), AccessTokens(new)
    early = before.issue(uuid4(), [Role.STAFF], uuid4(), now=now)
    late = meanwhile.issue(uuid4(), [Role.STAFF], uuid4(), now=now)
    assert [jwt.get_unverified_header(each)["kid"] for each in (early, late)] == [key_id(old), key_id(new)]
    for tokens in (before, meanwhile):
        assert tokens.verify(early)[1] == tokens.verify(late)[1] == (Role.STAFF,)
    assert after.verify(late)
    with pytest.raises(Unauthenticated):
        after.verify(early)


def test_a_token_is_good_for_a_quarter_of_an_hour_and_the_same_key_is_found_in_the_list() -> None:
    listed = jwt.PyJWKSet.from_dict({"keys": AccessTokens(b"n" * 32, SEED).public_keys()})
    assert [key.key_id for key in listed.keys] == [key_id(b"n" * 32), KID]
    made = TOKENS.issue(uuid4(), [Role.CUSTOMER], uuid4(), now=datetime.now(UTC))
    read = jwt.decode(made, listed[KID].key, algorithms=["EdDSA"], audience=ISSUER, issuer=ISSUER)
    assert read["exp"] - read["iat"] == ACCESS_TOKEN_S
    assert not any("d" in key for key in TOKENS.public_keys()), "the private half is never listed"


def test_seeds_are_read_as_the_settings_write_them() -> None:
    seeds = [base64.b64encode(bytes([n]) * 32).decode() for n in range(3)]
    assert decoded_seeds(seeds[0], "") == [bytes(32)]
    assert decoded_seeds(seeds[0], f"{seeds[1]}, {seeds[2]}") == [bytes([n]) * 32 for n in range(3)]


def test_a_token_that_was_good_is_known_until_it_expires() -> None:
    tokens, session = AccessTokens(SEED), uuid4()
    token = tokens.issue(uuid4(), [Role.STAFF], session, now=datetime.now(UTC) - timedelta(seconds=ACCESS_TOKEN_S - 2))
    assert tokens.verify(token)[2] == session
    give_up_at = time.monotonic() + 20

    def while_it_is_good() -> None:
        while time.monotonic() < give_up_at:
            tokens.verify(token)
            time.sleep(0.05)

    with pytest.raises(Unauthenticated):
        while_it_is_good()


def test_no_more_tokens_are_known_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_tokens, "KNOWN_MAX", 2)
    tokens, now = AccessTokens(SEED), datetime.now(UTC)
    for _ in range(5):
        assert tokens.verify(tokens.issue(uuid4(), [], uuid4(), now=now))
    assert len(tokens._known) == 2
    forged = AccessTokens(b"f" * 32).issue(uuid4(), [], uuid4(), now=now)
    with pytest.raises(Unauthenticated):
        tokens.verify(forged)
    assert forged not in tokens._known
