"""`kontor secrets`: random values for every secret that docker-compose.yml, or another installation, asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.exits import one_sentence
from cli.stack.environment_file import ENVIRONMENT_FILE, add_missing, made_secrets, said
from cli.stack.problem import Problem


@one_sentence
def secrets(
    file: Annotated[Path, typer.Option(help="Where they are added.")] = Path(ENVIRONMENT_FILE),
    show: Annotated[bool, typer.Option("--print", help="Print new ones instead, and write nothing.")] = False,
) -> None:
    """Add the secrets that .env lacks, each made at random; what is there stays. Only you may read the file afterwards.

    Exit codes: 0 done, or nothing was missing; 1 the file cannot be written.
    """
    if show:
        for name, value in made_secrets().items():
            print(f"{name}={value}")
        return
    try:
        print(said(file, add_missing(file)))
    except (OSError, ValueError) as error:
        raise Problem(f"{file} cannot be written ({error}): name another with --file.") from error
