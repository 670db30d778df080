"""Secrets from files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.secret_files import SECRET_BYTES_MAX, readable_by_all, with_files
from adapters.secret_settings import SECRETS, variable
from adapters.settings import Settings
from cli.stack.environment_file import key


def file(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("setting", SECRETS)
def test_every_secret_may_come_from_a_file(tmp_path: Path, setting: str) -> None:
    name = variable(setting)
    given = {f"{name}_FILE": str(file(tmp_path, " what it is\n")), "KONTOR_HTTP_PORT": "1"}
    assert with_files(given) == {name: "what it is", "KONTOR_HTTP_PORT": "1"}


def test_both_ways_at_once_are_refused(tmp_path: Path) -> None:
    both = {"KONTOR_JWT_KEY": "hidden", "KONTOR_JWT_KEY_FILE": str(file(tmp_path, "hidden"))}
    with pytest.raises(ValueError, match="KONTOR_JWT_KEY and KONTOR_JWT_KEY_FILE") as refusal:
        with_files(both)
    assert "hidden" not in str(refusal.value)
    assert with_files({"KONTOR_JWT_KEY": "hidden", "KONTOR_JWT_KEY_FILE": ""}) == {"KONTOR_JWT_KEY": "hidden"}


def test_a_file_that_cannot_be_used_is_named_without_what_it_holds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {
        str(tmp_path / "nothing"): "cannot be read",
        str(tmp_path): "no file",
        str(tmp_path / "pipe"): "no file",
    }
    contents: dict[str | bytes, str] = {"": "empty", " \n": "empty", b"\xff\xfe": "no text",
                                        "hidden" * SECRET_BYTES_MAX: "larger"}  # fmt: skip
    for content, says in contents.items():
        path = file(tmp_path, content)
        with pytest.raises(ValueError, match=says):
            with_files({"KONTOR_JWT_KEY_FILE": str(path)})
    for place, says in cases.items():
        with pytest.raises(ValueError, match=says):
            with_files({"KONTOR_JWT_KEY_FILE": place})
    with pytest.raises(ValueError, match="everybody on this machine may write"):
        with_files({"KONTOR_JWT_KEY_FILE": str(file(tmp_path, "hidden", 0o602))})


def test_who_else_may_read_a_file_is_told(tmp_path: Path) -> None:
    path = file(tmp_path, "hidden", 0o644)
    assert with_files({"KONTOR_JWT_KEY_FILE": str(path)}) == {"KONTOR_JWT_KEY": "hidden"}
    (sentence,) = readable_by_all({"KONTOR_JWT_KEY_FILE": str(path)})
    assert "chmod" in sentence
    path.chmod(0o640)
    assert readable_by_all({"KONTOR_JWT_KEY_FILE": str(path), "KONTOR_MASTER_KEY_FILE": "/nowhere"}) == []


def test_a_process_that_reads_its_environment_reads_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = key()
    for name, value in {
        "KONTOR_POSTGRES_URL": "postgresql://127.0.0.1/k",
        "KONTOR_KAFKA_URL": "127.0.0.1:1",
        "KONTOR_MASTER_KEY_FILE": str(file(tmp_path, made)),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KONTOR_MASTER_KEY", raising=False)
    settings = Settings.from_environment()
    assert (settings.master_key.get_secret_value(), settings.environment) == (made, "production")
    (tmp_path / "secret").write_text("a29udG9yLWRldmVsb3BtZW50LW1hc3Rlci1rZXktMDA=")
    with pytest.raises(ValueError, match="KONTOR_MASTER_KEY is a value that was published"):
        Settings.from_environment()
