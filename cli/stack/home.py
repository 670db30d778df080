"""Where one installation keeps everything: servers' data, logs, ports, secrets, state.

Guarantees: secrets are made once, kept at mode 0600, and never made again while data sealed with them exists. Files are
replaced atomically. Does not start or stop anything.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cli.stack.atomic_file import write_atomically
from cli.stack.environment_file import key, password
from cli.stack.problem import Problem

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
OWNED_FOLDERS = ("postgres", "kafka", "valkey", "gateway", "inbox", "logs", "run")
OWNED_FILES = ("state.json", "secrets.json", "ports.json")


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of one installation and the names inside it."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Ready files: each long-running process writes its pid here once it serves."""
        return self.path / "run"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def kafka(self) -> Path:
        return self.path / "kafka"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def gateway(self) -> Path:
        """What the development payment provider keeps."""
        return self.path / "gateway"

    @property
    def inbox(self) -> Path:
        """The mails of a machine that has no mail server."""
        return self.path / "inbox"

    @property
    def demo_marker(self) -> Path:
        """Says that the demo was loaded once into the cluster beside it."""
        return self.postgres / "demo.loaded"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def ports_file(self) -> Path:
        return self.path / "ports.json"

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "launcher.lock"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Make the directories; raises Problem when the place cannot be written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.logs, self.run, self.postgres, self.kafka, self.valkey, self.gateway):
                folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise Problem(
                f"The directory {self.path} cannot be used ({error.strerror}): "
                "set KONTOR_HOME to one that can be written."
            ) from error


def default_home() -> Home:
    """The home named by KONTOR_HOME, else `.kontor` beside the packages."""
    named = os.environ.get("KONTOR_HOME")
    return Home(Path(named).expanduser().resolve() if named else PROJECT_ROOT / ".kontor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What was generated for this installation; keys are base64 of 32 random bytes."""

    postgres_password: str
    redis_password: str
    master_key: str
    jwt_key: str
    # Keys whose tokens are good as well, comma separated.
    other_jwt_keys: str = ""
    # Homes made before there was a gateway have none yet.
    gateway_key: str = ""
    gateway_webhook_secret: str = ""
    # Homes made before records were signed have none yet.
    record_key: str = ""
    # Keys whose records are believed as well, comma separated.
    previous_record_keys: str = ""

    def __repr__(self) -> str:
        return "Secrets(hidden)"


def read_secrets(home: Home) -> Secrets | None:
    """The secrets of this home or None; raises Problem when the file is there and unreadable."""
    try:
        return Secrets(**json.loads(home.secrets_file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        raise Problem(
            f"The secrets in {home.secrets_file} cannot be read: restore that file from a copy, "
            "or delete the installation and its data with `kontor reset`."
        ) from error


def load_or_make_secrets(home: Home) -> Secrets:
    """The secrets of this home, made on its first start; raises Problem when data exists whose keys are gone."""
    found = read_secrets(home)
    if found is not None:
        whole = found if found.gateway_key else replace(found, **_gateway_secrets())
        whole = whole if whole.record_key else replace(whole, record_key=key())
        return whole if whole == found else _written(home, whole)
    if (home.postgres / "data").exists():
        raise Problem(
            f"{home.postgres / 'data'} holds data, but the keys that opened it, {home.secrets_file}, are gone: "
            "restore that file from a copy, or delete the data with `kontor reset`."
        )
    made = Secrets(
        postgres_password=password(),
        redis_password=password(),
        master_key=key(),
        jwt_key=key(),
        record_key=key(),
        **_gateway_secrets(),
    )
    return _written(home, made)


def rotate_signing_key(home: Home, *, forget: bool) -> Secrets:
    """The secrets with another key that signs access tokens; the one before still verifies, unless it is forgotten.
    They count from the next start on. Raises Problem where nothing was started yet."""
    found = _required_secrets(home)
    return _written(home, replace(found, jwt_key=key(), other_jwt_keys="" if forget else found.jwt_key))


def rotate_record_key(home: Home, *, forget: bool) -> Secrets:
    """The secrets with another key that signs the records on Kafka; what the one before signed is still believed,
    unless it is forgotten. They count from the next start on. Raises Problem where nothing was started yet."""
    found = _required_secrets(home)
    return _written(home, replace(found, record_key=key(), previous_record_keys="" if forget else found.record_key))


def _required_secrets(home: Home) -> Secrets:
    found = read_secrets(home)
    if found is None:
        raise Problem(f"There is no installation in {home.path}: start one with `kontor up`.")
    return found


def _gateway_secrets() -> dict[str, str]:
    return {
        "gateway_key": f"sk_test_{password()}",
        "gateway_webhook_secret": f"whsec_{password()}",
    }


def _written(home: Home, made: Secrets) -> Secrets:
    write_atomically(home.secrets_file, json.dumps(asdict(made), indent=1))
    return made


@contextmanager
def launcher_lock(home: Home) -> Iterator[bool]:
    """Hold the lock that makes this process the one launcher of the home; yields False when another holds it.

    The kernel drops the lock with its process, so a killed launcher never blocks the next one.
    """
    with home.lock_file.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def launcher_runs(home: Home) -> bool:
    """Whether some process holds the launcher lock of this home at this moment."""
    if not home.lock_file.exists():
        return False
    with launcher_lock(home) as mine:
        return not mine
