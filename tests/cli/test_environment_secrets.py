"""`kontor secrets` and `make compose-secrets`: what they make, keep and tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from cli.main import app
from cli.stack.environment_file import MADE
from tests.conftest import ROOT


def values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#")


def test_every_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    first = CliRunner().invoke(app, ["secrets", "--file", str(path)])
    assert first.exit_code == 0
    made = values(path)
    assert set(made) == set(MADE)
    assert len(set(made.values())) == len(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(value in first.output for value in made.values())
    again = CliRunner().invoke(app, ["secrets", "--file", str(path)])
    assert (again.exit_code, values(path)) == (0, made)


def test_what_stands_there_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# mine\nKONTOR_HTTP_PORT=9000\nexport KONTOR_JWT_KEY='mine'\nKONTOR_MASTER_KEY=\n#KONTOR_STRIPE_KEY=x"
    )
    path.chmod(0o644)
    said = CliRunner().invoke(app, ["secrets", "--file", str(path)]).output
    assert path.read_text().startswith("# mine\nKONTOR_HTTP_PORT=9000\nexport KONTOR_JWT_KEY='mine'\n")
    assert "KONTOR_JWT_KEY" not in said
    assert "KONTOR_STRIPE_KEY" in said
    assert values(path)["KONTOR_MASTER_KEY"] != ""
    assert path.stat().st_mode & 0o777 == 0o600


def test_new_ones_can_be_printed(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["secrets", "--print", "--file", str(tmp_path / ".env")]).stdout
    assert {line.partition("=")[0] for line in printed.splitlines()} == set(MADE)
    assert not (tmp_path / ".env").exists()


def test_python_alone_is_enough(tmp_path: Path) -> None:
    """As `make compose-secrets` runs it: where nothing is installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv[1:] = "
         f"[{str(tmp_path / '.env')!r}]; runpy.run_module('cli.stack.environment_file', run_name='__main__')"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "KONTOR_MASTER_KEY" in done.stdout
    assert set(values(tmp_path / ".env")) == set(MADE)
    assert "-m cli.stack.environment_file" in (ROOT / "Makefile").read_text()


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["secrets", "--file", str(tmp_path / "nowhere" / ".env")])
    assert result.exit_code == 1
    assert "nowhere" in result.stderr


def test_the_file_goes_neither_into_the_repository_nor_into_the_image() -> None:
    for name in (".gitignore", ".dockerignore"):
        assert ".env" in (ROOT / name).read_text().splitlines()
