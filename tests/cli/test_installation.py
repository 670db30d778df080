"""Where a command finds its settings: the environment, else the stack that runs, else one sentence."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from cli.installation import load_settings, without_password
from cli.stack.home import Home, load_or_make_secrets
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
    for name in (*COMPLETE, "KONTOR_HTTP_PORT", "KONTOR_READY_FILE"):
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


def test_a_damaged_state_file_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.state_file.write_text(json.dumps({"launcher": 1}))
    assert "cannot be read" in sentence(capsys)
