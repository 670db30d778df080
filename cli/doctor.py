"""`kontor doctor`: what this machine has and lacks for `kontor up`, and how to get what it lacks."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import typer

from cli.stack import given, jars, postgres, valkey
from cli.stack.home import Home, default_home, launcher_runs, read_secrets
from cli.stack.java import find_java
from cli.stack.ports import is_free, named_ports
from cli.stack.problem import Problem
from cli.stack.programs import environment_name

FREE_BYTES_MIN = 1024**3
VERSION_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `remedy` is empty when all is well."""

    what: str
    found: str
    remedy: str = ""


def doctor() -> None:
    """Check everything `kontor up` needs, one line each; a missing thing is followed by how to get it.

    Exit codes: 0 nothing is missing, 1 something is.
    """
    findings = [finding for check in CHECKS for finding in [_run(check, default_home())] if finding is not None]
    for finding in findings:
        mark = "MISSING" if finding.remedy else "ok"
        print(f"{mark:<8}{finding.what:<14}{finding.remedy or finding.found}")
    if any(finding.remedy for finding in findings):
        raise typer.Exit(1)


Check = tuple[str, Callable[[Home], str | None]]


def _run(check: Check, home: Home) -> Finding | None:
    what, look = check
    try:
        found = look(home)
    except Problem as problem:
        return Finding(what, "", str(problem))
    return None if found is None else Finding(what, found)


def _python(_home: Home) -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _directory(home: Home) -> str:
    place = home.path
    while not place.exists():
        place = place.parent
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < FREE_BYTES_MIN:
        raise Problem(
            f"{place} has {free_bytes // 1024**2} MB free and 1 GB is needed: make room, or set KONTOR_HOME elsewhere."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise Problem(f"{place} cannot be written: set KONTOR_HOME to a directory that can.")
    read_secrets(home)
    return f"{home.path}, {free_bytes // 1024**3} GB free"


def _environment(_home: Home) -> str:
    return environment_name()


def _postgres(home: Home) -> str:
    if (url := given.postgres_url()) is not None:
        return _answers(given.check_postgres(url))
    who = postgres.identity(home)
    how = f", started through {who.prefix[-1]} because root may not run it" if who.prefix else ""
    return f"{_version(postgres.binaries() / 'postgres')}{how}"


def _valkey(_home: Home) -> str:
    if (url := given.redis_url()) is not None:
        return _answers(given.check_redis(url))
    return _version(valkey.binary())


def _java(_home: Home) -> str | None:
    if given.kafka_url() is not None:
        return None
    java = find_java()
    return f"{java.major_version} ({java.program})"


def _kafka(_home: Home) -> str:
    if (url := given.kafka_url()) is not None:
        return _answers(given.check_kafka(url))
    missing = jars.missing_jars()
    if not missing:
        return f"all {len(jars.locked_jars())} jars are in {jars.cache_folder()}"
    jars.check_repository()
    megabytes = sum(jar.size for jar in missing) // 1_000_000
    return f"{len(missing)} jars will be fetched at the first start ({megabytes} MB)"


def _ports(home: Home) -> str:
    named = named_ports()
    if launcher_runs(home):
        return "in use by the stack that runs here"
    taken = [str(port) for port in named.values() if not is_free(port)]
    if taken:
        raise Problem(f"Port {', '.join(taken)} is taken by another program: stop it, or choose another port.")
    return ", ".join(f"{name} {port}" for name, port in named.items()) or "free ones are chosen"


def _answers(asking: Coroutine[object, object, None]) -> str:
    asyncio.run(asking)
    return "given, and answers"


def _version(program: Path) -> str:
    try:
        said = subprocess.run(  # noqa: S603  # a program of an installed wheel
            [str(program), "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Problem(f"{program} does not run on this machine: use a server of your own (see the README).") from error
    return said.stdout.strip().split(" sha=")[0]


CHECKS: tuple[Check, ...] = (
    ("Python", _python),
    ("directory", _directory),
    ("environment", _environment),
    ("PostgreSQL", _postgres),
    ("Valkey", _valkey),
    ("Java", _java),
    ("Kafka", _kafka),
    ("ports", _ports),
)
