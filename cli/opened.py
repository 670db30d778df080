"""What every command beside a running stack does first: settings, log, connections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import uvloop

from cli.installation import load_settings
from cli.log_output import log_to_stderr

if TYPE_CHECKING:
    from adapters.wiring import Kontor

T = TypeVar("T")


def with_kontor(name: str, work: Callable[[Kontor], Awaitable[T]], *, leaving: bool = False) -> T:
    """Do the work with everything wired and return what it returns; `name` is the command's in log and database. Of
    `leaving` see `load_settings`."""
    from adapters.wiring import open_kontor  # noqa: PLC0415  # imported when asked for: start-up time

    settings = load_settings("operator", leaving=leaving)
    log_to_stderr(name)

    async def run() -> T:
        async with open_kontor(settings, name=name) as kontor:
            return await work(kontor)

    return uvloop.run(run())
