"""`kontor keys rotate-signing`: another key that signs, and nobody is signed out."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.access_tokens import AccessTokens, decoded_seeds
from cli.stack.home import Home, load_or_make_secrets, read_secrets
from cli.stack.ports import Ports
from cli.stack.programs import SECRET_VARIABLES, settings
from cli.stack.servers import ServerUrls
from domain.errors import Unauthenticated
from tests.conftest import ROOT


def rotate(home: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """As an operator does it."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "keys", "rotate-signing", *options],
        env=bare | {"KONTOR_HOME": str(home)} | more,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def tokens_of(home: Home) -> AccessTokens:
    """As the API of this home signs and verifies after its next start."""
    secrets = read_secrets(home)
    assert secrets is not None
    urls, ports = ServerUrls(postgres="p", kafka="k", redis="r"), Ports(**dict.fromkeys(Ports.__dataclass_fields__, 1))
    given = settings(home, secrets, urls, ports)
    return AccessTokens(*decoded_seeds(given["KONTOR_JWT_KEY"], given["KONTOR_OTHER_JWT_KEYS"]))


def test_what_the_key_before_signed_stays_good_for_one_change_or_is_forgotten_at_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    load_or_make_secrets(home)
    token = tokens_of(home).issue(uuid4(), [], uuid4(), now=datetime.now(UTC))
    done = rotate(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = tokens_of(home).public_keys()
    assert (first["kid"] in done.stdout, len(others)) == (True, 1)
    assert tokens_of(home).verify(token)
    assert rotate(tmp_path, "--forget").returncode == 0
    assert len(tokens_of(home).public_keys()) == 1
    with pytest.raises(Unauthenticated):
        tokens_of(home).verify(token)


def test_without_an_installation_one_sentence_says_so(tmp_path: Path) -> None:
    done = rotate(tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "kontor up" in done.stderr


def test_where_the_key_comes_from_outside_the_next_one_is_printed_with_what_to_do(tmp_path: Path) -> None:
    done = rotate(tmp_path, KONTOR_JWT_KEY=base64.b64encode(bytes(32)).decode())
    assert len(base64.b64decode(done.stdout, validate=False)) == 32
    assert "KONTOR_OTHER_JWT_KEYS" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_earlier_keys_are_never_shown() -> None:
    assert "KONTOR_OTHER_JWT_KEYS" in SECRET_VARIABLES
