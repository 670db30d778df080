"""The settings of a command that is run beside a running stack: `kontor verify`, `kontor export` and the like.

Guarantees: the environment comes first; only what it lacks is taken from the stack that runs in this home. When there
is neither, or a value cannot be used, the process ends with one sentence that names the variable and never a secret.
"""

from __future__ import annotations

import base64
import binascii
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from pydantic import ValidationError

from adapters.secret_files import readable_by_all, with_files
from adapters.secret_settings import (
    PREFIX,
    SECRET_VARIABLES,
    SECRETS,
    Form,
    missing_for,
    variable,
    withheld_from,
    without_foreign_secrets,
)
from adapters.settings import Settings
from adapters.settings_review import require_fit
from cli.stack.home import default_home, read_secrets
from cli.stack.passwords import without_password
from cli.stack.problem import Problem
from cli.stack.state import read_state

REQUIRED = ("KONTOR_POSTGRES_URL", "KONTOR_KAFKA_URL")
KEYS = tuple(variable(name) for name, secret in SECRETS.items() if secret.form in (Form.KEY, Form.KEYS))
KEY_BYTES = 32
SCHEMES = {"KONTOR_POSTGRES_URL": ("postgresql://", "postgres://"), "KONTOR_REDIS_URL": ("redis://", "rediss://")}
SERVING = ("relay", "worker", "api")


def load_settings(process: str = "bench", *, leaving: bool = False) -> Settings:
    """The settings for this process, one of `adapters.secret_settings.PROCESSES`; prints one sentence and exits with 1
    when there are none that work. `leaving`: an earlier master key may be one that production refuses.

    A process that serves keeps no secret that it does not need, not even in its environment."""
    try:
        return settings_from(known_variables(process), process=process, leaving=leaving)
    except Problem as problem:
        _exit(problem)


def known_variables(process: str = "bench") -> dict[str, str]:
    """The KONTOR_* variables of the environment, with what the files of secrets hold, filled up from the running stack;
    raises Problem."""
    named = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
    for sentence in readable_by_all(named):
        print(sentence, file=sys.stderr)
    if process in SERVING:
        named = _kept(process, named)
    try:
        named = with_files(named)
    except ValueError as problem:
        raise Problem(str(problem)) from None
    missing = _missing(process, named)
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


def settings_from(variables: Mapping[str, str], *, process: str = "bench", leaving: bool = False) -> Settings:
    """Check the variables and make settings of them, without the secrets that the process has no use for; raises
    Problem naming the first that cannot be used, or everything that is not fit for production."""
    missing = _missing(process, variables)
    if missing:
        raise Problem(f"{missing[0]} is not set: set it, or start everything with `kontor up`.")
    withheld = withheld_from(process)
    given = {name: value for name, value in variables.items() if name not in withheld}
    for name in KEYS:
        for key in filter(None, given.get(name, "").split(",")):
            _check_key(name, key.strip())
    for name, schemes in SCHEMES.items():
        if name in given and not given[name].startswith(schemes):
            raise Problem(f"{name} is {without_password(given[name])!r}: it has to begin with {schemes[0]}")
    fields = {variable(field): field for field in Settings.model_fields}
    values = {fields[name]: value for name, value in given.items() if name in fields}
    # What is left out here would be read from the environment.
    values |= {fields[name]: "" for name in withheld if name in fields}
    try:
        return require_fit(Settings(**values), leaving=leaving)  # type: ignore[arg-type]  # texts, as in the environment
    except ValidationError as error:
        raise _cannot_be_used(error, given) from None
    except ValueError as refusal:
        raise Problem(str(refusal)) from None


def _missing(process: str, variables: Mapping[str, str]) -> list[str]:
    """The variables without which this process cannot do anything."""
    needed = [name for name in REQUIRED if not variables.get(name)]
    return needed + [name for name in missing_for(process, variables) if name not in needed]


def _kept(process: str, named: dict[str, str]) -> dict[str, str]:
    """The variables without the secrets that the process has no use for; its environment loses them, too."""
    kept = without_foreign_secrets(process, named)
    dropped = sorted(named.keys() - kept.keys())
    for name in dropped:
        del os.environ[name]
    if dropped and named.get("KONTOR_ENVIRONMENT", "production") == "production":
        print(
            f"kontor {process} has no use for {', '.join(dropped)}: do not give it secrets that it does not need.",
            file=sys.stderr,
        )
    return kept


def _cannot_be_used(error: ValidationError, variables: Mapping[str, str]) -> Problem:
    first = error.errors(include_url=False, include_context=False)[0]
    if not first["loc"]:  # of several settings together
        return Problem(first["msg"].removeprefix("Value error, "))
    name = variable(str(first["loc"][0]))
    shown = "" if name in SECRET_VARIABLES else f" is {without_password(variables.get(name, ''))!r}, which"
    return Problem(f"{name}{shown} cannot be used ({first['msg']}): correct or unset it.")


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
