"""Secrets from files: `KONTOR_MASTER_KEY_FILE` names a file that holds what `KONTOR_MASTER_KEY` would be. So a secret
is in no environment, which children inherit and other programs of the same user can read."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from adapters.secret_settings import SECRETS, variable

SECRET_BYTES_MAX: Final = 65_536
SUFFIX: Final = "_FILE"


def with_files(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables, with what the files hold in place of their names; a name that is empty names none.

    Raises ValueError, which never tells a secret: for a variable that is given both ways, and for a file that cannot be
    read, is too large, holds no text, is empty, or can be written by everybody."""
    read = dict(variables)
    for setting in SECRETS:
        name = variable(setting)
        if path := read.pop(name + SUFFIX, ""):
            if read.get(name):
                raise ValueError(f"{name} and {name}{SUFFIX} are both set: give the secret in one of the two ways.")
            read[name] = _content(name + SUFFIX, Path(path))
    return read


def readable_by_all(variables: Mapping[str, str]) -> list[str]:
    """A sentence for each file that everybody on this machine may read. That is no error: so are secrets that are
    mounted into a container, where there is nobody else."""
    files = {variable(setting) + SUFFIX: variables.get(variable(setting) + SUFFIX) for setting in SECRETS}
    return [
        f"{name} is {path}, which everybody on this machine may read: `chmod o= {path}`."
        for name, path in files.items()
        if path and _mode(path) & stat.S_IROTH
    ]


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except OSError:
        return 0


def _content(name: str, path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # to open a pipe would wait for who writes into it
            raise ValueError(f"{name} is {path}, which is no file.")
        if mode & stat.S_IWOTH:
            raise ValueError(f"{name} is {path}, which everybody on this machine may write: `chmod o= {path}`.")
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"{name} is {path}, which cannot be read ({error.strerror}).") from None
    if len(content) > SECRET_BYTES_MAX:
        raise ValueError(f"{name} is {path}, which is larger than {SECRET_BYTES_MAX} bytes: it holds no secret.")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(
            f"{name} is {path}, which is no text: write the secret as it stands in the variable."
        ) from None
    if not text:
        raise ValueError(f"{name} is {path}, which is empty.")
    return text
