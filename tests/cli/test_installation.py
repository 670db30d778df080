"""Where a command finds its settings: the environment, else the stack that runs, else one sentence."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.secret_settings import SECRETS, variable
from cli.installation import load_settings
from cli.stack import environment_file as made
from cli.stack.home import Home, load_or_make_secrets
from cli.stack.passwords import without_password
from cli.stack.state import State, own_record, write_state

KEY = base64.b64encode(bytes(32)).decode()
COMPLETE = {
    "KONTOR_ENVIRONMENT": "development",
    "KONTOR_POSTGRES_URL": "postgresql://kontor:hidden@127.0.0.1:1/kontor",
    "KONTOR_KAFKA_URL": "127.0.0.1:2",
    "KONTOR_REDIS_URL": "redis://127.0.0.1:3/0",
    "KONTOR_MASTER_KEY": KEY,
    "KONTOR_JWT_KEY": KEY,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in [name for name in os.environ if name.startswith("KONTOR_")]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "home"))
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def named(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in {**COMPLETE, **variables}.items():
        monkeypatch.setenv(name, value)


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load_settings()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_the_environment_alone_is_enough(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, KONTOR_HTTP_PORT="8123")
    settings = load_settings()
    assert settings.postgres_url == COMPLETE["KONTOR_POSTGRES_URL"]
    assert settings.http_port == 8123
    assert settings.master_key.get_secret_value() == KEY


def test_what_the_environment_lacks_comes_from_the_running_stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = load_or_make_secrets(home)
    kept = {name: value for name, value in COMPLETE.items() if not name.endswith("_KEY")}
    me = own_record()
    state = State(launcher=me, processes={"api": me}, settings={**kept, "KONTOR_TOPIC_PREFIX": "shop."})
    write_state(home, state)
    monkeypatch.setenv("KONTOR_REDIS_URL", "redis://elsewhere:7/0")

    settings = load_settings()
    assert settings.redis_url == "redis://elsewhere:7/0"
    assert settings.kafka_url == COMPLETE["KONTOR_KAFKA_URL"]
    assert settings.topic_prefix == "shop."
    assert settings.jwt_key.get_secret_value() == secrets.jwt_key


def test_with_neither_the_sentence_says_how_to_start(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    said = sentence(capsys)
    assert said.startswith("Nothing is running in")
    assert "make run" in said
    assert "KONTOR_POSTGRES_URL" in said


def test_a_state_file_of_a_stack_that_is_gone_is_not_believed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    gone = own_record()
    state = State(launcher=gone, processes={})
    write_state(home, state)
    assert sentence(capsys).startswith("Nothing is running in")


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("KONTOR_HTTP_PORT", "70000", "'70000'"),
        ("KONTOR_ENVIRONMENT", "staging", "'staging'"),
        ("KONTOR_POSTGRES_URL", "mysql://me:hidden@db/x", "'mysql://me:***@db/x'"),
        ("KONTOR_MASTER_KEY", "c2hvcnQ=", "base64 of 32 random bytes"),
        ("KONTOR_JWT_KEY", "not base64!", "base64 of 32 random bytes"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_without_its_secret(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, part: str
) -> None:
    named(monkeypatch, **{name: value})
    said = sentence(capsys)
    assert name in said
    assert part in said
    assert "hidden" not in said
    assert "c2hvcnQ" not in said


def test_a_password_is_never_shown() -> None:
    assert without_password("redis://:se-cret@h:1/0") == "redis://:***@h:1/0"
    assert without_password("postgresql://u:p%40ss@h/db") == "postgresql://u:***@h/db"
    assert (
        without_password("postgresql://u:se/c:r@t@h/db?password=secret&x=1")
        == "postgresql://u:***@h/db?password=***&x=1"
    )
    assert without_password("host=h user=u password=secret dbname=k") == "host=h user=u password=*** dbname=k"
    assert without_password("postgresql://u@h:1/db") == "postgresql://u@h:1/db"


def test_a_damaged_state_file_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.state_file.write_text(json.dumps({"launcher": 1}))
    assert "cannot be read" in sentence(capsys)


STRONG = {
    "KONTOR_ENVIRONMENT": "production",
    "KONTOR_MASTER_KEY": made.key(),
    "KONTOR_JWT_KEY": made.key(),
    "KONTOR_POSTGRES_URL": f"postgresql://kontor:{made.password()}@127.0.0.1:1/kontor",
    "KONTOR_STRIPE_KEY": f"sk_live_{made.password()}",
    "KONTOR_STRIPE_WEBHOOK_SECRET": f"whsec_{made.password()}",
    "KONTOR_OTHER_JWT_KEYS": made.key(),
    "KONTOR_PREVIOUS_MASTER_KEYS": made.key(),
}
PRINTED = "a29udG9yLWRldmVsb3BtZW50LXRva2VuLWtleS0wMDA="
KEPT = {
    "relay": {"master_key", "previous_master_keys", "redis_url"},
    "migrate": {"master_key", "previous_master_keys"},
    "worker": {"master_key", "previous_master_keys", "stripe_key", "redis_url"},
    "api": {"master_key", "previous_master_keys", "jwt_key", "other_jwt_keys", "stripe_webhook_secret", "redis_url"},
    "demo": {"master_key", "previous_master_keys", "redis_url"},
    "operator": {"master_key", "previous_master_keys", "redis_url"},
}


@pytest.mark.parametrize("process", KEPT)
def test_a_process_keeps_the_secrets_that_it_needs_and_no_others(
    home: Home, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    named(monkeypatch, **STRONG)
    settings = load_settings(process)
    has = {name for name in SECRETS if name != "postgres_url" and revealed(getattr(settings, name))}
    assert has == KEPT[process]
    if process in ("relay", "worker", "api"):
        assert not {variable(name) for name in SECRETS.keys() - KEPT[process] - {"postgres_url"}} & set(os.environ)


def revealed(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.mark.parametrize("process", KEPT)
def test_every_process_refuses_what_production_refuses(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], process: str
) -> None:
    named(monkeypatch, **STRONG, KONTOR_PASSWORD_HASHING="bcrypt:4", KONTOR_TRUSTED_PROXIES="0.0.0.0/0")
    with pytest.raises(SystemExit):
        load_settings(process)
    said = capsys.readouterr().err.splitlines()[-1]
    assert "[weak-password-hashing]" in said
    assert "[wide-trusted-proxies]" in said
    monkeypatch.setenv("KONTOR_ACCEPTED_RISKS", "weak-password-hashing,wide-trusted-proxies")
    assert load_settings(process).environment == "production"


@pytest.mark.parametrize(
    ("process", "name"),
    [
        ("api", "KONTOR_JWT_KEY"),
        ("api", "KONTOR_OTHER_JWT_KEYS"),
        ("worker", "KONTOR_MASTER_KEY"),
        ("operator", "KONTOR_PREVIOUS_MASTER_KEYS"),
    ],
)
def test_a_public_key_is_refused_by_whoever_would_use_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], process: str, name: str
) -> None:
    named(monkeypatch, **{**STRONG, name: PRINTED})
    with pytest.raises(SystemExit):
        load_settings(process)
    said = capsys.readouterr().err
    assert f"{name} is a value that was published" in said
    assert PRINTED not in said
    if name == "KONTOR_PREVIOUS_MASTER_KEYS":
        assert load_settings(process, leaving=True).environment == "production"


def test_a_process_says_which_secret_it_lacks(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named(monkeypatch)
    monkeypatch.delenv("KONTOR_JWT_KEY")
    assert load_settings("worker")
    with pytest.raises(SystemExit):
        load_settings("api")
    assert "set KONTOR_JWT_KEY" in capsys.readouterr().err


def test_a_secret_from_a_file_is_read_and_told_to_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    named(monkeypatch)
    monkeypatch.delenv("KONTOR_JWT_KEY")
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    monkeypatch.setenv("KONTOR_JWT_KEY_FILE", str(path))
    assert load_settings("api").jwt_key.get_secret_value() == KEY
    assert load_settings("relay").jwt_key.get_secret_value() == ""
    path.write_text("hidden")
    monkeypatch.setenv("KONTOR_JWT_KEY_FILE", str(path))
    assert "hidden" not in sentence(capsys)
