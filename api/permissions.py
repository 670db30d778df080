"""Who may do what, as a page: `python -m api.permissions` writes it anew from what the code declares.

A command's permission stands in `commands.COMMANDS` and counts for its mutation, its route and the command line alike;
that of a root query stands beside it (`api.graphql.resolvers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from graphql import GraphQLField, GraphQLObjectType

from api.graphql.resolvers import WHO
from api.graphql.schema import schema
from api.rest.commands import summary
from api.rest.forms import BY_NAME, PUBLIC
from commands.handling import (
    Command,
    Permission,
    admin,
    analyst,
    anyone,
    integrator,
    log_reader,
    signed_in,
    staff,
    system,
)

PLACE: Final = Path(__file__).parents[1] / "docs" / "permissions.md"
MEANING: Final[dict[Permission, tuple[str, str]]] = {
    anyone: ("anyone", "no account is needed"),
    signed_in: ("signed in", "any account, for what is its own; STAFF and ADMIN also where the description says so"),
    integrator: ("INTEGRATOR", "and ADMIN"),
    analyst: ("ANALYST", "and STAFF and ADMIN"),
    log_reader: ("ANALYST, INTEGRATOR", "and STAFF and ADMIN"),
    staff: ("STAFF", "and ADMIN"),
    admin: ("ADMIN", "alone"),
    system: ("Kontor", "its own processes alone; neither served nor offered"),
}
# A mutation that is no command: it takes a token instead of a session.
REFRESH: Final = "refreshTokens"


def root_queries() -> dict[str, Permission | None]:
    """Every root query and who may ask it; None where nobody has said."""
    fields = {name: field.extensions["strawberry-definition"] for name, field in _fields("Query").items()}
    return {name: field.metadata.get(WHO) for name, field in fields.items()}


def page() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_commands(), *_queries(), ""])


def _fields(root: str) -> dict[str, GraphQLField]:
    kind = schema._schema.type_map[root]
    assert isinstance(kind, GraphQLObjectType)
    fields: dict[str, GraphQLField] = kind.fields
    return fields


def _head() -> Iterator[str]:
    yield "# Who may do what"
    yield ""
    yield "Made by `python -m api.permissions` from what the code declares; held by `tests/api/test_permissions.py`."
    yield "What is not one's own answers like what does not exist."
    yield ""
    yield "| who | means |"
    yield "|---|---|"
    yield from (f"| {name} | {meaning} |" for name, meaning in MEANING.values())


def _commands() -> Iterator[str]:
    mutations = _fields("Mutation")
    yield from ("", "## Commands", "", "| command | mutation | who | what it does |", "|---|---|---|---|")
    for name, command in sorted(BY_NAME.items()):
        mutation = command.name[0].lower() + command.name[1:]
        served = f"`{mutation}`" if mutation in mutations else ""
        yield f"| `{name}`{'' if name in PUBLIC else ' (not served)'} | {served} | {_who(command)} | {_what(command)} |"
    yield f"| | `{REFRESH}` | {MEANING[anyone][0]} | {mutations[REFRESH].description} |"


def _queries() -> Iterator[str]:
    fields = _fields("Query")
    yield from ("", "## Queries", "", "| query | who | what it shows |", "|---|---|---|")
    for name, who in sorted(root_queries().items()):
        assert who is not None, f"say who may ask: @resolver(..., who=...) at the root query {name}"
        yield f"| `{name}` | {MEANING[who][0]} | {fields[name].description} |"


def _who(command: Command) -> str:
    return MEANING[command.permission][0]


def _what(command: Command) -> str:
    return summary(command).replace("|", "\\|")


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")
