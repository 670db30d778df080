"""What production refuses, and what it does not."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import shutil
import subprocess
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.secret_quality import PUBLISHED, too_weak, was_published
from adapters.secret_settings import PROCESSES, SECRETS, Form
from adapters.settings import Settings
from adapters.settings_review import RULES, refused, require_fit, review
from cli.stack.environment_file import MADE, key, made_secrets, password
from tests.conftest import ROOT

# As docker-compose.yml had them.
PRINTED = "a29udG9yLWRldmVsb3BtZW50LXRva2VuLWtleS0wMDA="


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"KONTOR_{field.upper()}", raising=False)


def production(**given: Any) -> Settings:
    """Settings that are fit for it, but for these."""
    sound = {
        "postgres_url": f"postgresql://kontor:{password()}@db.internal/kontor?sslmode=verify-full",
        "kafka_url": "127.0.0.1:9092",
        "redis_url": f"rediss://:{password()}@cache.internal/0",
        "master_key": key(),
        "jwt_key": key(),
        "stripe_key": f"sk_live_{password()}",
        "stripe_webhook_secret": f"whsec_{password()}",
        "smtp_url": f"smtps://shop:{password()}@mail.shop.com",
        "mail_from": "Shop <orders@shop.com>",
        "public_url": "https://shop.com",
        "allowed_origins": "https://shop.com",
        "trusted_proxies": "10.0.0.0/8, ::1, fd00::/8, 203.0.113.0/24",
    }
    return Settings(**sound | given)  # type: ignore[arg-type]


def names(settings: Settings) -> list[str]:
    return [finding.name for finding in refused(settings)]


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_sound_settings_are_taken() -> None:
    assert names(production()) == []
    assert require_fit(production())


WEAK: list[tuple[str, dict[str, Any]]] = [
    ("weak-password-hashing", {"password_hashing": "argon2id:m=8,t=1,p=1"}),
    ("weak-password-hashing", {"password_hashing": "argon2id:m=19456,t=1,p=1"}),
    ("weak-password-hashing", {"password_hashing": "bcrypt:4"}),
    ("weak-password-hashing", {"password_hashing": "bcrypt:9"}),
    ("wide-trusted-proxies", {"trusted_proxies": "0.0.0.0/0"}),
    ("wide-trusted-proxies", {"trusted_proxies": "10.0.0.1,::/0"}),
    ("wide-trusted-proxies", {"trusted_proxies": "0.0.0.0/1,128.0.0.0/1"}),
    ("wide-trusted-proxies", {"trusted_proxies": "2000::/3"}),
    ("wide-trusted-proxies", {"trusted_proxies": "52.0.0.0/8"}),
    ("wide-trusted-proxies", {"trusted_proxies": "::ffff:0:0/96"}),
    ("plaintext-postgres", {"postgres_url": "postgresql://k@db.internal/k?sslmode=disable"}),
    ("plaintext-postgres", {"postgres_url": "postgresql://k@127.0.0.1,db.internal/k?sslmode=allow"}),
    ("plaintext-postgres", {"postgres_url": "postgresql://k@db.internal/k"}),
    ("plaintext-redis", {"redis_url": "redis://cache.internal/0"}),
    ("plaintext-kafka", {"kafka_security_protocol": "PLAINTEXT", "kafka_url": "127.0.0.1:9092,broker.internal:9092"}),
    ("insecure-origins", {"allowed_origins": "https://shop.com,http://shop.com"}),
    ("insecure-public-url", {"public_url": "http://shop.com"}),
    ("insecure-stripe-url", {"stripe_url": "http://gateway:12111"}),
    ("plaintext-smtp", {"smtp_url": "smtp://mail.shop.com"}),
    ("demo-mail-from", {"mail_from": "Kontor <no-reply@kontor.test>"}),
    ("no-cost-limits", {"cost_burst": 10**9}),
    ("no-cost-limits", {"cost_per_operation_max": 10**9}),
    ("private-webhook-addresses", {"webhook_private_addresses": True}),
]


@pytest.mark.parametrize(("name", "given"), WEAK, ids=lambda value: str(value)[:60])
def test_a_weak_setting_is_refused_unless_it_is_accepted_by_name(name: str, given: dict[str, Any]) -> None:
    weak = production(**given)
    assert set(names(weak)) == {name}
    with pytest.raises(ValueError, match=f"KONTOR_{next(iter(given)).upper()}"):
        require_fit(weak)
    assert names(production(**given, accepted_risks=f"other, {name}")) == []
    assert names(production(**given, environment="development")) == []


@pytest.mark.parametrize(
    "given",
    [
        {"password_hashing": "argon2id:m=19456,t=2,p=1"},
        {"password_hashing": "argon2id:m=47104,t=1,p=1"},
        {"password_hashing": "bcrypt:12"},
        {"postgres_url": "postgresql://k@127.0.0.1/k?sslmode=disable"},
        {"postgres_url": "postgresql:///k?host=/run/postgresql&sslmode=disable"},
        {"smtp_url": "smtp://127.0.0.1:25"},
        {"public_url": "http://127.0.0.1:8000", "stripe_url": "http://localhost:12111"},
        {"smtp_url": "", "mail_from": "Kontor <no-reply@kontor.test>"},
    ],
    ids=str,
)
def test_what_is_no_risk_is_taken(given: dict[str, Any]) -> None:
    assert names(production(**given)) == []


PUBLIC: list[dict[str, Any]] = [
    {"jwt_key": PRINTED},
    {"other_jwt_keys": f"{key()},{PRINTED}"},
    {"master_key": "a29udG9yLWRldmVsb3BtZW50LW1hc3Rlci1rZXktMDA="},
    {"previous_master_keys": PRINTED},
    {"jwt_key": "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="},
    {"stripe_webhook_secret": "whsec_kontor_development"},
    {"stripe_key": "sk_test_kontor_development"},
    {"postgres_url": "postgresql://kontor:kontor-development@127.0.0.1/kontor"},
    {"postgres_url": "postgresql://kontor@127.0.0.1/kontor?password=kontor-development"},
    {"redis_url": "redis://:kontor%2Ddevelopment@127.0.0.1/0"},
    {"smtp_url": "smtps://shop:kontor-demo-admin@mail.shop.com"},
]


@pytest.mark.parametrize("given", PUBLIC, ids=lambda given: next(iter(given)))
def test_a_published_secret_is_refused_whatever_is_accepted_and_is_not_repeated(given: dict[str, Any]) -> None:
    public = production(**given, accepted_risks="public-secret,weak-secret,equal-secrets")
    assert names(public) == ["public-secret"]
    with pytest.raises(ValueError) as refusal:
        require_fit(public)
    (name, value), *_ = given.items()
    assert f"KONTOR_{name.upper()}" in str(refusal.value)
    assert all(part not in str(refusal.value) for part in (value, PRINTED, "kontor-development", "KONTOR_ACCEPTED"))


@pytest.mark.parametrize(
    "raw",
    [
        bytes(32),
        b"\xff" * 32,
        bytes(range(32)),
        bytes(range(200, 168, -1)),
        bytes(i * i % 256 for i in range(32)),
        bytes((7 * i + 3) % 256 for i in range(32)),
        bytes(i ^ 0x5A for i in range(0, 64, 2)),
        secrets.token_bytes(16) * 2,
        secrets.token_bytes(8) * 4,
        secrets.token_bytes(24) + bytes(8),
        b"this is a very secret key of us!",
        b"kontor".ljust(32, b"\0"),
        "schlüssel für köche, äöüß, über".encode()[:32].ljust(32, b"!"),
        secrets.token_hex(16).encode(),
        base64.b64encode(b"a key that is base64 of it").ljust(32, b"=")[:32],
        hashlib.sha256(b"kontor").digest(),
        hashlib.sha256(b"").digest(),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("name", ["master_key", "jwt_key", "other_jwt_keys", "previous_master_keys"])
def test_a_key_that_is_easily_guessed_is_refused(name: str, raw: bytes) -> None:
    assert names(production(**{name: encoded(raw)}, accepted_risks="weak-secret")) == ["weak-secret"]


@pytest.mark.parametrize(
    "text",
    [
        "postgres",
        "short-1A",
        "kontor-production-2026",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "abababababababababababab",
        "abcdefghijklmnopqrstuvwx",
        "0123456789012345678901234567",
        "hunter2hunter2hunter2hunter2",
        "onlylittleletterslikewords",
        "MySuperSecretPassword123456",
        base64.b64encode(b"this is the webhook key").decode(),
        b"text as hexadecimal".hex(),
    ],
)
@pytest.mark.parametrize("name", ["stripe_webhook_secret", "stripe_key", "postgres_url", "redis_url"])
def test_a_password_that_is_easily_guessed_is_refused(name: str, text: str) -> None:
    forms = {
        "stripe_webhook_secret": f"whsec_{text}",
        "stripe_key": f"sk_live_{text}",
        "postgres_url": f"postgresql://kontor:{text}@127.0.0.1/kontor",
        "redis_url": f"redis://:{text}@127.0.0.1/0",
    }
    assert names(production(**{name: forms[name]}, accepted_risks="weak-secret")) == ["weak-secret"]


def test_equal_secrets_are_refused_however_they_are_written() -> None:
    one, text = key(), password()
    pairs: list[dict[str, Any]] = [
        {"master_key": one, "jwt_key": one},
        {"jwt_key": one, "other_jwt_keys": one},
        {"jwt_key": one, "previous_master_keys": f"{key()}, {one}"},
        {"stripe_webhook_secret": text, "stripe_key": text},
        {"redis_url": f"redis://:{text}@127.0.0.1/0", "postgres_url": f"postgresql://k:{text}@127.0.0.1/k"},
    ]
    for pair in pairs:
        assert names(production(**pair, accepted_risks="equal-secrets")) == ["equal-secrets"]
    raw = base64.b64decode(one)
    told = production(jwt_key=one, stripe_webhook_secret=base64.urlsafe_b64encode(raw).decode().rstrip("="))
    assert names(told) == ["equal-secrets"]


def test_who_wraps_anew_may_have_a_bad_key_that_is_left() -> None:
    leaving = production(previous_master_keys=PRINTED)
    assert refused(leaving, leaving=True) == []
    assert names(leaving) == ["public-secret"]
    assert refused(production(master_key=PRINTED), leaving=True) != []
    assert refused(production(other_jwt_keys=PRINTED), leaving=True) != []


def test_what_is_made_here_is_taken() -> None:
    assert set(MADE) == set(made_secrets())
    for _ in range(2_000):
        assert too_weak(key(), key=True) == ""
        assert too_weak(password(), key=False) == ""
        assert too_weak(f"whsec_{secrets.token_hex(24)}", key=False) in ("", "it counts or repeats")


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="there is no history here")
def test_every_secret_that_stands_in_the_history_is_refused() -> None:
    history = subprocess.run(
        ["git", "log", "-p", "--all", "--", "*.yml", "*.yaml", "*.md", "*.py", "*.env*", "Dockerfile"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode(errors="replace")  # fmt: skip
    keys = set(re.findall(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}=(?!=)", history))
    texts = set(re.findall(r"\b(?:sk_(?:test|live)_|whsec_)[A-Za-z0-9_]+", history))
    texts |= set(re.findall(r"\$\{KONTOR_[A-Z_]*(?:PASSWORD|SECRET|KEY):-([^}]+)\}", history))
    assert {PRINTED, "whsec_kontor_development"} <= keys | texts
    assert [each for each in keys if not was_published(each) and not too_weak(each, key=True)] == []
    assert [each for each in texts if not was_published(each) and not too_weak(each, key=False)] == []


def test_the_list_holds_digests_alone() -> None:
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in PUBLISHED)


def test_every_secret_setting_says_who_needs_it() -> None:
    secret = {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    assert secret <= set(SECRETS) <= set(Settings.model_fields)
    assert {process for each in SECRETS.values() for process in each.processes} <= set(PROCESSES)
    assert all(each.processes for each in SECRETS.values())
    assert {each.form for each in SECRETS.values()} == set(Form)


def test_every_rule_has_something_to_say() -> None:
    told = {name for name, _ in WEAK} | {"public-secret", "weak-secret", "equal-secrets"}
    found = {finding.name for _, given in WEAK for finding in review(production(**given))}
    assert found | {"public-secret", "weak-secret", "equal-secrets"} == told
    assert all(any(list(rule(production(**given))) for given in [*PUBLIC, *(g for _, g in WEAK), {"jwt_key": "x",
               "master_key": "x"}]) for rule in RULES)  # fmt: skip


def test_settings_that_are_not_reviewed_yet_say_what_is_malformed_first() -> None:
    with pytest.raises(ValidationError, match="password_hashing"):
        production(password_hashing="md5")
