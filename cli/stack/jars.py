"""Program and functions: the jars of Apache Kafka, exactly those of `kafka.lock`, in the user's cache.

Guarantees: a jar that is not the locked one (half-written, replaced) is fetched again and never used. Two runs at once
do not disturb each other. jgo knows where the repositories are; add mirrors in its own settings file.

As a program (`python -m cli.stack.jars`) it fetches what is missing, so that the launcher can stop it half-way.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cli import bytecode
from cli.stack.problem import Problem

LOCK = Path(__file__).with_name("kafka.lock")
FETCHES_AT_ONCE = 8
FETCH_TIMEOUT_S = 20
TRIES_MAX = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """Where it is, or will be, in the cache."""
        return cache_folder().joinpath(
            *self.group.split("."), self.artifact, self.version, f"{self.artifact}-{self.version}.jar"
        )


@cache
def locked_jars() -> tuple[Jar, ...]:
    """Every jar Kafka needs."""
    jars = []
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, digest, size = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, digest.removeprefix("sha256:"), int(size)))
    return tuple(jars)


def cache_folder() -> Path:
    """Where the jars are kept for all installations of this user."""
    return bytecode.cache_folder() / "maven"


def missing_jars() -> list[Jar]:
    """Jars that are not there, or not as locked. Hashing all takes some tens of milliseconds."""
    return [jar for jar in locked_jars() if not _is_good(jar)]


def classpath() -> str:
    """The class path of Kafka; the jars must be there."""
    return os.pathsep.join(str(jar.path) for jar in locked_jars())


def _is_good(jar: Jar) -> bool:
    try:
        if jar.path.stat().st_size != jar.size:
            return False
        with jar.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def fetch_missing() -> None:
    """Fetch what is missing; raises Problem with a sentence when it cannot be had."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with (cache_folder() / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = missing_jars()
            for jar in missing:
                jar.path.unlink(missing_ok=True)
            _fetch(missing)
    except OSError as error:
        raise Problem(
            f"The jars of Kafka cannot be written to {cache_folder()} ({error.strerror}): "
            "make room there, or set XDG_CACHE_HOME to another directory."
        ) from error


def check_repository() -> None:
    """Fetch the smallest missing jar, to know whether the others can be had; raises Problem when not."""
    smallest = min(missing_jars(), key=lambda jar: jar.size, default=None)
    if smallest is not None:
        _fetch([smallest])


def _fetch(missing: list[Jar]) -> None:
    # Only the first start needs jgo, and importing it takes long.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(repo_cache=cache_folder(), remote_repos=repositories, timeout=FETCH_TIMEOUT_S)

    def fetch(jar: Jar) -> str:
        reason = ""
        for _ in range(TRIES_MAX):
            try:
                context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
                if _is_good(jar):
                    return ""
                reason = "not the locked file"
            except Exception as error:  # noqa: BLE001, RUF100  # jgo and requests raise many kinds; all mean: not fetched
                reason = type(error).__name__
            jar.path.unlink(missing_ok=True)
        return f"{jar.artifact}-{jar.version}.jar: {reason}"

    with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
        failures = [failure for failure in pool.map(fetch, missing) if failure]
    if failures:
        raise Problem(
            f"{len(failures)} of the {len(locked_jars())} jars of Kafka could not be fetched ({failures[0]}): "
            "the first start needs the Maven repository that jgo uses; connect to the network and run the same "
            "command again, or set KONTOR_KAFKA_URL to a Kafka of your own."
        )


def main() -> None:
    """Fetch what is missing; the sentence of a Problem is the last line on stderr."""
    try:
        fetch_missing()
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
