"""The rules of the house: what no reader should have to check by hand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from cli.main import COMMANDS as CLI_COMMANDS
from commands import COMMANDS
from projections import VIEWS

ROOT = Path(__file__).parents[2]
PACKAGES = ("domain", "commands", "projections", "adapters", "streams", "api", "cli")
PURE = ("domain", "commands", "projections")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "core", "helpers", "helper", "shared", "base", "manager", "misc"}

# In two halves, so that this file does not hold what it forbids.
FORBIDDEN_TEXT = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo1." + "maven",
    "repo.maven" + ".apache",
    "registry." + "npmjs",
    "proxy." + "golang",
    "/ro" + "ot/",
    "/wo" + "rk/",
]
# The places of `now`, chance and settings: the pure core is given them.
IMPURE = {"now", "utcnow", "today", "time", "monotonic", "uuid1", "uuid4", "uuid7", "environ", "getenv", "urandom"}
IMPURE_MODULES = {"os", "random", "secrets", "time", "socket", "subprocess", "uuid_utils"}


def modules(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """Files under version control that still exist."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is not a checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_too_long_to_read() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in modules(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_no_function_is_too_long_to_read() -> None:
    lengths = {
        f"{place(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in modules(*PACKAGES)
        for function in functions(path)
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES_MAX} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        place(path)
        for path in modules(*PACKAGES)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_the_packages_stand_side_by_side() -> None:
    parents = {Path(import_module(package).__path__[0]).resolve().parent for package in PACKAGES}
    assert parents == {ROOT.resolve()}


def test_every_name_of_a_module_or_folder_says_something() -> None:
    parts = {
        (place(path), part)
        for path in modules(*PACKAGES)
        for part in path.relative_to(ROOT).with_suffix("").parts
        if part.strip("_") in NAMES_THAT_SAY_NOTHING
    }
    assert parts == set()


def test_every_command_of_the_program_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in CLI_COMMANDS if not re.search(rf"`kontor {name}\b[^`]*`", readme)]
    assert missing == []


def test_no_tracked_file_names_a_package_host_or_a_folder_of_one_machine() -> None:
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" in content[:8_000]:
            continue
        text = content.decode("utf-8", "replace").lower()
        found += [(place(path), forbidden) for forbidden in FORBIDDEN_TEXT if forbidden in text]
    assert found == []


def test_no_lock_names_the_index_it_was_made_with() -> None:
    options = re.compile(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b|https?://", re.M)
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert locks
    assert {lock.name: options.findall(lock.read_text()) for lock in locks} == {lock.name: [] for lock in locks}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_every_view_has_a_table_with_exactly_the_fields_of_its_row(view: object) -> None:
    created = {}
    for path in (ROOT / "projections").glob("*.sql"):
        for table, body in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\)", path.read_text(), re.S):
            created[table] = (path.stem, re.findall(r"^\s+([a-z_]+)\s+\S", body, re.M))
    module, columns = created[view.table]
    assert columns == list(view.row.__struct_fields__)
    assert view.row.__module__ == f"projections.{module}"


def test_every_view_is_listed_under_its_name() -> None:
    assert {name: view.name for name, view in VIEWS.items()} == {name: name for name in VIEWS}
    assert len({view.table for view in VIEWS.values()}) == len(VIEWS)


def test_every_handler_says_what_it_does() -> None:
    assert [command.name for command in COMMANDS.values() if not command.handler.__doc__] == []


def test_the_names_of_commands_are_unique() -> None:
    names = [command.name for command in COMMANDS.values()]
    assert len(names) == len(set(names)) == len({command.handler for command in COMMANDS.values()})


def impurities(source: str) -> list[str]:
    """What a module takes from the world by itself: the clock, chance, the environment."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name.partition(".")[0] in IMPURE_MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                found += [module] if module.partition(".")[0] in IMPURE_MODULES else []
                found += [alias.name for alias in names if alias.name in IMPURE]
            case ast.Attribute(value=ast.Name(id="datetime" | "date" | "uuid" | "os" as owner), attr=attribute):
                found += [f"{owner}.{attribute}"] if attribute in IMPURE else []
    return found


@pytest.mark.parametrize("path", modules(*PURE), ids=place)
def test_the_pure_core_has_no_clock_no_chance_and_no_environment(path: Path) -> None:
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time",
        "from random import choice",
        "from os import environ",
        "from uuid import uuid4",
        "uuid.uuid4()",
        "datetime.now()",
        "date.today()",
    ],
)
def test_the_check_of_the_pure_core_sees_what_it_forbids(source: str) -> None:
    assert impurities(source) != []
