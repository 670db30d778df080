"""docker-compose.yml is valid, names only what exists, and waits for what it needs."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from adapters.secret_settings import SECRETS, variable
from api.rest.payments import PATH
from cli.main import COMMANDS
from cli.stack.environment_file import MADE
from cli.stack.home import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {"migrate", "demo"}


def test_it_follows_the_compose_specification() -> None:
    package = find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    # The schema of `check-jsonschema --builtin-schema vendor.compose-spec`, read without starting that program.
    schema = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_every_dependency_is_a_service_and_is_waited_for() -> None:
    for name, service in SERVICES.items():
        for dependency, how in service.get("depends_on", {}).items():
            assert dependency in SERVICES, f"{name} depends on {dependency}, which is no service"
            expected = "service_completed_successfully" if dependency in ONE_SHOTS else "service_healthy"
            assert how["condition"] == expected, f"{name} does not wait until {dependency} has done its part"


def test_every_service_that_stays_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        check = service["healthcheck"]
        assert check.get("disable", False) is (name in ONE_SHOTS)
        assert check.get("test") or name in ONE_SHOTS


def test_somebody_waits_for_every_one_shot_service() -> None:
    awaited = {name for service in SERVICES.values() for name in service.get("depends_on", {})}
    assert awaited >= ONE_SHOTS


def test_every_named_volume_is_declared() -> None:
    used = {
        volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", []) if ":" in volume
    }
    assert used == set(COMPOSE["volumes"])


def test_every_port_is_on_loopback() -> None:
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))


@pytest.mark.parametrize("name", ["migrate", "gateway", "inbox", "relay", "worker", "api"])
def test_a_process_runs_a_command_that_exists(name: str) -> None:
    assert SERVICES[name]["command"] == [name]
    assert name in COMMANDS


def test_mails_end_in_the_inbox_unless_a_server_is_named() -> None:
    inbox = SERVICES["inbox"]["environment"]
    assert (
        SERVICES["worker"]["environment"]["KONTOR_SMTP_URL"]
        == f"${{KONTOR_SMTP_URL:-smtp://inbox:{inbox['KONTOR_SMTP_PORT']}}}"
    )
    assert SERVICES["inbox"]["ports"][0].endswith(f":{inbox['KONTOR_INBOX_PORT']}")


ASKED = re.compile(r"\$\{(KONTOR_[A-Z_]*(?:PASSWORD|SECRET|KEY)):(.)([^}]*)\}")


def test_no_secret_has_a_default() -> None:
    asked = ASKED.findall(TEXT)
    assert {name for name, _, _ in asked} == set(MADE)
    assert {(how, says) for _, how, says in asked} == {("?", "run make compose-secrets first")}
    assert "kontor-development" not in TEXT


def test_every_service_is_given_the_secrets_that_it_needs_and_no_others() -> None:
    for name in ("migrate", "relay", "worker", "api", "gateway", "inbox", "demo"):
        given = set(SERVICES[name]["environment"])
        known = {variable(setting) for setting in SECRETS}
        needed = {variable(setting) for setting, secret in SECRETS.items() if name in secret.needed}
        used = {variable(setting) for setting, secret in SECRETS.items() if name in secret.used}
        assert needed <= given & known <= needed | used, name


def test_no_service_may_more_than_it_must() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "kafka", name
        assert not service.get("privileged"), name
        assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}, name


def test_every_image_is_named_by_its_digest() -> None:
    ours = "kontor:${KONTOR_VERSION:-development}"
    foreign = [service["image"] for service in SERVICES.values() if service["image"] != ours]
    first = (PROJECT_ROOT / "Dockerfile").read_text().partition("FROM ")[2].partition("\n")[0]
    assert len(foreign) == 3
    assert all(re.fullmatch(r"[a-z/]+:[0-9.]+[a-z-]*@sha256:[0-9a-f]{64}", image) for image in [*foreign, first])


def test_a_password_stands_in_no_command_line() -> None:
    assert all("PASSWORD" not in str(service.get("command", "")) for service in SERVICES.values())


def test_the_payment_provider_is_where_the_others_look_for_it_and_tells_the_api() -> None:
    gateway = SERVICES["gateway"]["environment"]
    assert gateway["KONTOR_GATEWAY_WEBHOOK_URL"] == f"http://api:8000{PATH}"
    assert COMPOSE["x-settings"]["KONTOR_STRIPE_URL"].endswith(f":-http://gateway:{gateway['KONTOR_GATEWAY_PORT']}}}")
    folder, _, _ = gateway["KONTOR_GATEWAY_FILE"].rpartition("/")
    # A volume takes its owner from the folder of the image.
    assert f"chown kontor /run/kontor {folder}\n" in (PROJECT_ROOT / "Dockerfile").read_text()


def test_the_image_copies_every_package() -> None:
    dockerfile = (PROJECT_ROOT / "Dockerfile").read_text()
    packages = ("domain", "commands", "projections", "adapters", "streams", "api", "cli")
    assert all(f"COPY {package} {package}\n" in dockerfile for package in packages)
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert "USER kontor" in dockerfile


def test_what_listens_off_its_container_is_for_development_and_published_on_loopback_alone() -> None:
    assert COMPOSE["x-settings"]["KONTOR_ENVIRONMENT"] == "${KONTOR_ENVIRONMENT:-development}"
    assert COMPOSE["x-settings"]["KONTOR_DEVELOPMENT_ON_ALL_ADDRESSES"] == "true"
    assert COMPOSE["x-settings"]["KONTOR_ALLOWED_HOSTS"] == "${KONTOR_ALLOWED_HOSTS:-api}"
    assert all(service.get("network_mode") != "host" for service in SERVICES.values())
