"""`kontor keys rotate-records`: another key that signs records, and what the one before signed is still believed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.record_signatures import RecordSignatures
from adapters.wire import Linked, NotOurs
from cli.keys import app
from cli.stack.home import Home, load_or_make_secrets
from cli.stack.ports import Ports
from cli.stack.programs import SECRET_VARIABLES, settings
from cli.stack.servers import ServerUrls
from tests.adapters.test_record_signatures import LINKED, SIGNED, Message


def signatures_of(home: Home) -> RecordSignatures:
    """As the relay and the worker of this home have them after their next start."""
    urls, ports = ServerUrls(postgres="p", kafka="k", redis="r"), Ports(**dict.fromkeys(Ports.__dataclass_fields__, 1))
    given = settings(home, load_or_make_secrets(home), urls, ports)
    assert {"KONTOR_RECORD_KEY", "KONTOR_PREVIOUS_RECORD_KEYS"} <= set(SECRET_VARIABLES)
    keys = [given["KONTOR_RECORD_KEY"], *filter(None, given["KONTOR_PREVIOUS_RECORD_KEYS"].split(","))]
    return RecordSignatures([base64.b64decode(key) for key in keys], "kontor.")


def signed_by(home: Home) -> Message:
    return replace(SIGNED, headers=tuple(signatures_of(home).headers_of(Linked(LINKED.record, LINKED.previous))))


def test_a_home_of_before_gets_a_key_and_keeps_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    load_or_make_secrets(home)
    kept = json.loads(home.secrets_file.read_text())
    del kept["record_key"], kept["previous_record_keys"]
    home.secrets_file.write_text(json.dumps(kept))
    made = load_or_make_secrets(home)
    assert len(base64.b64decode(made.record_key)) == 32
    assert load_or_make_secrets(home) == made


def test_what_the_key_before_signed_is_believed_for_one_change_or_forgotten_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KONTOR_HOME", str(tmp_path))
    monkeypatch.delenv("KONTOR_RECORD_KEY", raising=False)
    home = Home(tmp_path)
    load_or_make_secrets(home)
    first = signed_by(home)
    assert CliRunner().invoke(app, ["rotate-records"]).exit_code == 0
    assert signatures_of(home).read(first) == LINKED
    second = signed_by(home)
    assert second != first
    assert CliRunner().invoke(app, ["rotate-records", "--forget"]).exit_code == 0
    for forgotten in (first, second):
        with pytest.raises(NotOurs):
            signatures_of(home).read(forgotten)


def test_where_the_key_is_given_from_outside_another_is_printed_with_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KONTOR_RECORD_KEY", "given")
    done = CliRunner().invoke(app, ["rotate-records"])
    assert done.exit_code == 0
    assert len(base64.b64decode(done.stdout.strip().splitlines()[0])) == 32
    assert "KONTOR_PREVIOUS_RECORD_KEYS" in done.stderr
