"""The secrets of an installation that is configured from a file, as docker-compose.yml is from `.env`: random values.

    python3 -m cli.stack.environment_file [FILE]

Needs Python alone, for where Docker is all that is installed. What stands in the file stays as it is; what is missing
is added; nobody but its owner may read it.
"""

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cli.stack.atomic_file import write_atomically

ENVIRONMENT_FILE = ".env"


def key() -> str:
    """Base64 of 32 random bytes."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def password() -> str:
    """256 random bits, in characters that a URL takes."""
    return secrets.token_urlsafe(32)


# What docker-compose.yml asks for. The provider's two are for the gateway that it starts; put those of a real one in
# their place.
MADE: Mapping[str, Callable[[], str]] = {
    "KONTOR_POSTGRES_PASSWORD": password,
    "KONTOR_POSTGRES_API_PASSWORD": password,
    "KONTOR_POSTGRES_WORKER_PASSWORD": password,
    "KONTOR_POSTGRES_RELAY_PASSWORD": password,
    "KONTOR_POSTGRES_ANALYST_PASSWORD": password,
    "KONTOR_REDIS_PASSWORD": password,
    "KONTOR_MASTER_KEY": key,
    "KONTOR_JWT_KEY": key,
    "KONTOR_RECORD_KEY": key,
    "KONTOR_STRIPE_KEY": lambda: f"sk_test_{password()}",
    "KONTOR_STRIPE_WEBHOOK_SECRET": lambda: f"whsec_{password()}",
}


def made_secrets() -> dict[str, str]:
    """A new value for each."""
    return {name: make() for name, make in MADE.items()}


def named_in(text: str) -> set[str]:
    """The variables that have a value there."""
    lines = (line.strip().removeprefix("export ").partition("=") for line in text.splitlines())
    return {name.strip() for name, _, value in lines if value.strip().strip("'\"") and not name.startswith("#")}


def add_missing(path: Path) -> list[str]:
    """Add the secrets that the file lacks, and make it its owner's alone; the names that were added. Raises OSError
    and, for a file that is no text, ValueError."""
    path = path.resolve()
    text = path.read_text() if path.exists() else ""
    missing = {name: value for name, value in made_secrets().items() if name not in named_in(text)}
    if text and not text.endswith("\n"):
        text += "\n"
    write_atomically(path, text + "".join(f"{name}={value}\n" for name, value in missing.items()))
    return list(missing)


def said(path: Path, added: list[str]) -> str:
    """What was done, without a secret."""
    if not added:
        return f"{path} has every secret already; nothing was changed."
    return f"added to {path}, which only you may read: {', '.join(added)}"


if __name__ == "__main__":
    wanted = Path(sys.argv[1] if len(sys.argv) > 1 else ENVIRONMENT_FILE)
    try:
        print(said(wanted, add_missing(wanted)))
    except (OSError, ValueError) as error:
        sys.exit(f"{wanted} cannot be written ({error}): name another file.")
