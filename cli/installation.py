"""The settings of a command that is run beside a running stack: `kontor verify`, `kontor export` and the like.

Guarantees: the environment comes first; only what it lacks is taken from the stack that runs in this home. When there
is neither, or a value cannot be used, the process ends with one sentence that names the variable and never a secret.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import sys
from collections.abc import Mapping
from typing import NoReturn

from pydantic import ValidationError

from adapters.settings import Settings
from cli.stack.home import default_home, read_secrets
from cli.stack.problem import Problem
from cli.stack.state import read_state

PREFIX = "KONTOR_"
REQUIRED = ("KONTOR_POSTGRES_URL", "KONTOR_KAFKA_URL", "KONTOR_REDIS_URL", "KONTOR_MASTER_KEY", "KONTOR_JWT_KEY")
KEYS = ("KONTOR_MASTER_KEY", "KONTOR_JWT_KEY")
LISTS_OF_KEYS = ("KONTOR_OTHER_JWT_KEYS", "KONTOR_RECORD_KEY", "KONTOR_PREVIOUS_RECORD_KEYS")
KEY_BYTES = 32
SCHEMES = {"KONTOR_POSTGRES_URL": ("postgresql://", "postgres://"), "KONTOR_REDIS_URL": ("redis://", "rediss://")}


def load_settings() -> Settings:
    """The settings for this process; prints one sentence and exits with 1 when there are none that work."""
    try:
        return settings_from(known_variables())
    except Problem as problem:
        _exit(problem)


def known_variables() -> dict[str, str]:
    """The KONTOR_* variables of the environment, filled up from the running stack; raises Problem."""
    named = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
    missing = [name for name in REQUIRED if name not in named]
    if not missing:
        return named
    home = default_home()
    state = read_state(home)
    if state is None or not state.pids():
        raise Problem(
            f"Nothing is running in {home.path}: start it with `make run` or `.venv/bin/kontor up`, "
            f"or set {', '.join(missing)}."
        )
    secrets = read_secrets(home)
    kept = {"KONTOR_MASTER_KEY": secrets.master_key, "KONTOR_JWT_KEY": secrets.jwt_key} if secrets else {}
    if secrets and "KONTOR_JWT_KEY" not in named:
        kept["KONTOR_OTHER_JWT_KEYS"] = secrets.other_jwt_keys
    if secrets and "KONTOR_RECORD_KEY" not in named:
        kept["KONTOR_RECORD_KEY"] = secrets.record_key
        kept["KONTOR_PREVIOUS_RECORD_KEYS"] = secrets.previous_record_keys
    return {**state.settings, **kept, **named}


def settings_from(variables: Mapping[str, str]) -> Settings:
    """Check the variables and make settings of them; raises Problem naming the first that cannot be used."""
    for name in REQUIRED:
        if not variables.get(name):
            raise Problem(f"{name} is not set: set it, or start everything with `kontor up`.")
    for name in KEYS:
        _check_key(name, variables[name])
    for name in LISTS_OF_KEYS:
        for key in filter(None, variables.get(name, "").split(",")):
            _check_key(name, key.strip())
    for name, schemes in SCHEMES.items():
        if not variables[name].startswith(schemes):
            raise Problem(f"{name} is {without_password(variables[name])!r}: it has to begin with {schemes[0]}")
    fields = {f"{PREFIX}{field.upper()}": field for field in Settings.model_fields}
    values = {fields[name]: value for name, value in variables.items() if name in fields}
    try:
        return Settings(**values)  # type: ignore[arg-type]  # pydantic turns the texts into the fields' types
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if not first["loc"]:  # of several settings together
            raise Problem(first["msg"].removeprefix("Value error, ")) from None
        name = f"{PREFIX}{str(first['loc'][0]).upper()}"
        shown = without_password(variables.get(name, ""))
        raise Problem(f"{name} is {shown!r}, which cannot be used ({first['msg']}): correct or unset it.") from None


def without_password(url: str) -> str:
    """The same text with what stands between user and host left out."""
    return re.sub(r"(?<=:)[^:/@]+(?=@)", "***", url)


def _check_key(name: str, value: str) -> None:
    try:
        long_enough = len(base64.b64decode(value, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        long_enough = False
    if not long_enough:
        raise Problem(f"{name} is not a key: it has to be base64 of {KEY_BYTES} random bytes.")


def _exit(problem: Problem) -> NoReturn:
    print(problem, file=sys.stderr)
    sys.exit(1)
