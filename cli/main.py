"""The program `kontor`: one command per module, read from a table of contents, each imported only when it is asked for.

Guarantees: `kontor status` does not pay for importing the API. Answers go to stdout, progress and reasons to stderr.
Exit codes: 0 done, 1 not done (one sentence says why), 2 the command line is wrong.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import structlog
import typer
from typer.core import TyperGroup

from cli.bytecode import share_bytecode

# name on the command line -> module:function (or module:app for a group of commands)
COMMANDS = {
    "up": "cli.up:up",
    "down": "cli.down:down",
    "status": "cli.status:status",
    "doctor": "cli.doctor:doctor",
    "reset": "cli.reset:reset",
    "inbox": "cli.inbox.command:inbox",
    "migrate": "cli.processes:migrate",
    "api": "cli.processes:api",
    "relay": "cli.processes:relay",
    "worker": "cli.processes:worker",
    "gateway": "cli.gateway.commands:app",
    "demo": "cli.demo:demo",
    "import": "cli.importing:import_file",
    "command": "cli.command:command",
    "keys": "cli.keys:app",
    "secrets": "cli.environment_secrets:secrets",
    "users": "cli.users:app",
    "views": "cli.views:app",
    "parked": "cli.parked:app",
    "orders": "cli.orders:app",
    "effects": "cli.effects:app",
    "verify": "cli.verify:verify",
    "bench": "cli.bench.commands:app",
}


class TableOfContents(TyperGroup):
    """Commands in the order of COMMANDS, imported one by one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command; None when the table does not have it."""
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(cls=TableOfContents, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def kontor() -> None:
    """Kontor, an event-sourced commerce backend. Start it with `kontor up`.

    Exit codes of every command: 0 done; 1 not done, one sentence on stderr says why; 2 the command line is wrong.
    """


def main() -> None:
    """The entry point."""
    share_bytecode()
    # Standard output is what a command answers; a long-running process says more about its log lines.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    app()


if __name__ == "__main__":
    main()
