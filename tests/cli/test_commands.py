"""The commands that manage an installation, as a person meets them: text, exit code, nothing else touched."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.logins import DEMO_LOGINS
from cli.main import COMMANDS, app
from cli.stack import jars
from cli.stack.home import Home, load_or_make_secrets
from cli.stack.ports import Ports
from cli.stack.problem import Problem
from cli.stack.programs import Programs, settings
from cli.stack.servers import ServerUrls
from cli.stack.state import State, own_record, write_state
from cli.status import overview

PORTS = Ports(postgres=1, kafka=2, kafka_controller=3, redis=4, http=5, gateway=6, smtp=7, inbox=8)
URLS = ServerUrls(postgres="postgresql://p", kafka="k:1", redis="redis://r")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in "POSTGRES_URL KAFKA_URL REDIS_URL HTTP_PORT ENVIRONMENT MASTER_KEY JWT_KEY STRIPE_KEY".split():
        monkeypatch.delenv(f"KONTOR_{name}", raising=False)
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def kontor(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def running(home: Home, environment: str = "development", **more: str) -> None:
    home.prepare()
    me = own_record()
    kept = {"KONTOR_ENVIRONMENT": environment, "KONTOR_KAFKA_URL": "k:1", **more}
    state = State(launcher=me, ready=True, http_url="http://127.0.0.1:5", settings=kept)
    write_state(home, state)


def test_every_command_of_the_table_exists_and_says_what_it_does() -> None:
    for name in ("up", "down", "status", "doctor", "reset"):
        module, _, attribute = COMMANDS[name].partition(":")
        assert getattr(import_module(module), attribute).__doc__
        shown = kontor(name, "--help")
        assert shown.exit_code == 0
        assert "Exit codes" in shown.output


def test_an_unknown_command_is_a_wrong_command_line(home: Home) -> None:
    assert kontor("fly").exit_code == 2


def test_status_of_nothing_says_how_to_start(home: Home) -> None:
    result = kontor("status", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "make run" in result.stderr


def test_status_as_json_is_one_object_with_the_demo_logins(home: Home) -> None:
    running(home)
    result = kontor("status", "--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    urls = {"http_url", "postgres_url", "analyst_url", "kafka_url", "redis_url", "gateway_url", "smtp_url", "inbox_url"}
    assert set(shown) == {"ready", "processes", "logins", *urls}
    assert shown["logins"]["admin"] == {"email": "admin@kontor.test", "password": "kontor-demo-admin"}


def test_passwords_are_shown_to_a_person_who_asks_for_them(home: Home) -> None:
    kept = {"KONTOR_POSTGRES_URL": "postgresql://k:hid-den@h:1/k", "KONTOR_REDIS_URL": "redis://:hid-den@h:2/0"}
    for environment, in_json in (("development", True), ("production", False)):
        running(home, environment, **kept)
        plain, asked = kontor("status").stdout, kontor("status", "--secrets").stdout
        assert ("hid-den" in plain, "hid-den" in asked) == (False, True)
        assert "kontor-demo-" not in plain
        assert ("kontor-demo-admin" in asked) is in_json
        assert "postgresql://k:***@h:1/k" in plain
        assert "--secrets" in plain
        told = json.loads(kontor("status", "--json").stdout)
        assert (told["postgres_url"] == kept["KONTOR_POSTGRES_URL"]) is in_json
        assert json.loads(kontor("status", "--json", "--secrets").stdout)["redis_url"] == kept["KONTOR_REDIS_URL"]


def test_production_has_no_demo_logins(home: Home) -> None:
    running(home, "production")
    assert json.loads(kontor("status", "--json").stdout)["logins"] == {}
    assert "kontor-demo" not in kontor("status").stdout


def test_an_unknown_environment_is_refused_before_anything_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_ENVIRONMENT", "staging")
    result = kontor("up")
    assert result.exit_code == 1
    assert "'staging'" in result.stderr
    assert not home.path.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_a_development_is_not_started_off_this_machine(home: Home, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("KONTOR_HTTP_HOST", host)
    result = kontor("up")
    assert result.exit_code == 1
    assert "KONTOR_HTTP_HOST" in result.stderr
    assert not home.path.exists()


def test_what_up_starts_is_for_development_unless_it_is_told_otherwise(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.prepare()
    secrets = load_or_make_secrets(home)
    assert settings(home, secrets, URLS, PORTS)["KONTOR_ENVIRONMENT"] == "development"
    monkeypatch.setenv("KONTOR_ENVIRONMENT", "production")
    assert settings(home, secrets, URLS, PORTS)["KONTOR_ENVIRONMENT"] == "production"


def test_down_where_nothing_runs_is_no_failure(home: Home) -> None:
    result = kontor("down")
    assert result.exit_code == 0
    assert "Nothing runs" in result.stderr


def test_reset_without_a_person_to_ask_deletes_nothing(home: Home) -> None:
    home.prepare()
    load_or_make_secrets(home)
    result = kontor("reset")
    assert result.exit_code == 1
    assert "--yes" in result.stderr
    assert home.secrets_file.exists()


def test_reset_deletes_what_kontor_made_and_nothing_else(home: Home) -> None:
    home.prepare()
    load_or_make_secrets(home)
    mine = home.path / "my-notes.txt"
    mine.write_text("keep")
    assert kontor("reset", "--yes").exit_code == 0
    assert [path.name for path in home.path.iterdir()] == ["my-notes.txt"]


def test_doctor_finds_this_machine_fit_and_makes_nothing(home: Home) -> None:
    result = kontor("doctor")
    assert "MISSING" not in result.stdout, result.stdout
    assert result.exit_code == 0
    for line in ("Python", "PostgreSQL", "Valkey", "Java", "Kafka"):
        assert line in result.stdout
    assert not home.path.exists()


def test_doctor_says_what_is_missing_and_what_to_do(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_POSTGRES_URL", "postgresql://me:hidden@127.0.0.1:1/x")
    monkeypatch.setenv("KONTOR_HTTP_PORT", "http")
    result = kontor("doctor")
    assert result.exit_code == 1
    assert "MISSING PostgreSQL" in result.stdout
    assert "127.0.0.1:1" in result.stdout
    assert "KONTOR_HTTP_PORT is 'http'" in result.stdout
    assert "hidden" not in result.stdout


def test_keys_named_by_the_environment_win_over_generated_ones(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.prepare()
    secrets = load_or_make_secrets(home)
    monkeypatch.setenv("KONTOR_JWT_KEY", "given")
    made = settings(home, secrets, URLS, PORTS)
    assert made["KONTOR_JWT_KEY"] == "given"
    assert made["KONTOR_MASTER_KEY"] == secrets.master_key
    assert made["KONTOR_HTTP_PORT"] == "5"


def test_the_own_payment_provider_runs_in_development_when_no_other_is_given(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.prepare()
    secrets = load_or_make_secrets(home)
    made = settings(home, secrets, URLS, PORTS)
    assert (made["KONTOR_STRIPE_URL"], made["KONTOR_STRIPE_KEY"]) == ("http://127.0.0.1:6", secrets.gateway_key)
    assert "gateway" in Programs().kept_running()
    monkeypatch.setenv("KONTOR_STRIPE_KEY", "sk_live_given")
    given = settings(home, secrets, URLS, PORTS)
    assert (given.get("KONTOR_STRIPE_URL"), given["KONTOR_STRIPE_KEY"]) == (None, "sk_live_given")
    assert "gateway" not in Programs().kept_running()
    monkeypatch.delenv("KONTOR_STRIPE_KEY")
    monkeypatch.setenv("KONTOR_ENVIRONMENT", "production")
    assert "KONTOR_STRIPE_KEY" not in settings(home, secrets, URLS, PORTS)
    assert "gateway" not in Programs().kept_running()


def test_the_overview_names_the_own_payment_provider_only_where_it_runs(home: Home) -> None:
    kept = {"KONTOR_STRIPE_URL": "http://127.0.0.1:6"}
    state = State(launcher=own_record(), expected=("api",), settings=kept)
    assert "127.0.0.1:6" not in overview(state, home)
    assert "http://127.0.0.1:6 (kontor gateway)" in overview(replace(state, expected=("api", "gateway")), home)


def test_a_home_from_before_the_payment_provider_gets_its_secrets(home: Home) -> None:
    home.prepare()
    made = load_or_make_secrets(home)
    old = {name: value for name, value in asdict(made).items() if not name.startswith("gateway")}
    home.secrets_file.write_text(json.dumps(old))
    first = load_or_make_secrets(home)
    assert (first.master_key, load_or_make_secrets(home)) == (made.master_key, first)
    assert len(first.gateway_key) > 40
    assert first.gateway_webhook_secret.startswith("whsec_")


def test_demo_passwords_are_long_enough_for_the_rules() -> None:
    assert all(len(login.password) >= 12 for login in DEMO_LOGINS.values())
    assert {login.email for login in DEMO_LOGINS.values()} == {f"{who}@kontor.test" for who in DEMO_LOGINS}


def test_a_jar_that_is_not_the_locked_one_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jar = min(jars.locked_jars(), key=lambda jar: jar.size)
    assert jar in jars.missing_jars()
    jar.path.parent.mkdir(parents=True)
    jar.path.write_bytes(b"x" * jar.size)
    assert jar in jars.missing_jars()


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Problem, match="make room there"):
        jars.fetch_missing()
