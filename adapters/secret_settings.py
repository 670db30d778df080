"""Which settings are secrets, what each is, and which of Kontor's processes needs it. What a process does not need,
`kontor up` and docker-compose.yml do not give it, and it does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

PREFIX: Final = "KONTOR_"
# One program each; `operator` is every command that an operator runs beside them, `bench` what measures.
PROCESSES: Final = ("relay", "worker", "api", "migrate", "demo", "gateway", "inbox", "operator", "bench")
# What opens sealed data. The relay chains the log by a key that is wrapped by the master key.
_OPENING: Final = frozenset({"relay", "worker", "api", "demo", "operator", "bench"})
_SIGNING: Final = frozenset({"relay", "worker", "operator", "bench"})  # what writes or believes records on Kafka
_MIGRATING: Final = frozenset({"migrate", "bench"})


class Form(Enum):
    """How a secret is written."""

    KEY = "base64 of 32 random bytes"
    KEYS = "such keys, comma separated"
    TEXT = "a random text"
    URL = "a URL with a password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """`needed`: these processes do not start without it. `used`: these are given it as well where there is one."""

    form: Form
    needed: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    before: str = ""  # the setting whose earlier values it holds

    @property
    def processes(self) -> frozenset[str]:
        return self.needed | self.used


SECRETS: Final[Mapping[str, Secret]] = {
    "postgres_url": Secret(form=Form.URL, needed=_OPENING | {"migrate"}),
    "postgres_owner_url": Secret(form=Form.URL, used=_MIGRATING | {"operator"}),
    "postgres_api_url": Secret(form=Form.URL, used=_MIGRATING),
    "postgres_worker_url": Secret(form=Form.URL, used=_MIGRATING),
    "postgres_relay_url": Secret(form=Form.URL, used=_MIGRATING),
    "postgres_analyst_url": Secret(form=Form.URL, used=_MIGRATING),
    "redis_url": Secret(form=Form.URL, needed=_OPENING),
    "master_key": Secret(form=Form.KEY, needed=_OPENING | {"migrate"}),
    "previous_master_keys": Secret(form=Form.KEYS, used=_OPENING | {"migrate"}, before="master_key"),
    "record_key": Secret(form=Form.KEY, used=_SIGNING),
    "previous_record_keys": Secret(form=Form.KEYS, used=_SIGNING, before="record_key"),
    "jwt_key": Secret(form=Form.KEY, needed=frozenset({"api", "bench"})),
    "other_jwt_keys": Secret(form=Form.KEYS, used=frozenset({"api", "bench"}), before="jwt_key"),
    "kafka_password": Secret(form=Form.TEXT, used=frozenset({"relay", "worker", "migrate", "operator", "bench"})),
    "stripe_key": Secret(form=Form.TEXT, used=frozenset({"worker", "gateway", "bench"})),
    "stripe_webhook_secret": Secret(form=Form.TEXT, used=frozenset({"api", "gateway"})),
    "smtp_url": Secret(form=Form.URL, used=frozenset({"worker"})),
}


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{setting.upper()}"


# What the launcher writes down nowhere but among the secrets of its home: keys, and the roles of its processes.
SECRET_VARIABLES: Final = frozenset(
    variable(name)
    for name, secret in SECRETS.items()
    if secret.form is not Form.URL or name in ("postgres_api_url", "postgres_worker_url", "postgres_relay_url")
)


def withheld_from(process: str) -> frozenset[str]:
    """The variables of the secrets that this process has no use for. Raises KeyError for one that is not listed."""
    if process not in PROCESSES:
        raise KeyError(process)
    return frozenset(variable(name) for name, secret in SECRETS.items() if process not in secret.processes)


def without_foreign_secrets(process: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that this process is to have, also those that name files (`KONTOR_..._FILE`)."""
    withheld = withheld_from(process)
    return {name: value for name, value in variables.items() if name.removesuffix("_FILE") not in withheld}


def missing_for(process: str, variables: Mapping[str, str]) -> list[str]:
    """The variables of the secrets that this process cannot do without and was not given."""
    needed = [variable(name) for name, secret in SECRETS.items() if process in secret.needed]
    return [name for name in needed if not variables.get(name)]
