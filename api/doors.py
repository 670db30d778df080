"""The doors of the HTTP application, and the page of all doors: `python -m api.doors` writes it anew.

What a command or a root field costs and tells stands beside it; here stand the routes, which are neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from starlette.routing import BaseRoute

from adapters.rate_limits import Rate
from api import documentation, jwks
from api.client_address import IPV6_PREFIX, IPV6_SITE_PREFIX, SITE_TIMES
from api.graphql.doors import doors_of
from api.graphql.schema import schema
from api.rest import payments
from api.rest.commands import PATH as COMMANDS_PATH
from api.rest.forms import BY_NAME, PUBLIC
from api.throttling import ACCOUNT, ADDRESS, HASHES, MAILS, MAILS_BY, MAILS_FROM, POSTS, TELLS
from commands import COMMANDS
from commands.doors import OWN, PLAIN, Door, UndeclaredDoor

PLACE: Final = Path(__file__).parents[1] / "docs" / "doors.md"
GRAPHQL: Final = "/graphql"
ROUTES: Final[Mapping[str, Door]] = {
    GRAPHQL: PLAIN,  # its fields have doors of their own
    COMMANDS_PATH: PLAIN,
    f"{COMMANDS_PATH}/{{name}}": PLAIN,
    payments.PATH: payments.DOOR,
    jwks.PATH: PLAIN,
    "/healthz": PLAIN,
    "/readyz": PLAIN,  # one look at a time
    "/metrics": PLAIN,
    "/openapi.json": PLAIN,
    documentation.PATH: PLAIN,
    documentation.SCRIPTS: PLAIN,
}
RATES: Final[Mapping[str, Rate]] = {
    "wrong guesses of an account's secrets": ACCOUNT,
    "wrong guesses from an address": ADDRESS,
    "slow hashes for an address": HASHES,
    "mails to a mailbox that an input names": MAILS,
    "such mails by an account": MAILS_BY,
    "such mails from an address": MAILS_FROM,
    "questions whether something exists, of an account or an address": TELLS,
    "posts and replays by an account": POSTS,
}
KINDS: Final = {
    "guesses": "an input is compared with a secret",
    "hashes": "slow hashes are computed",
    "mails": "a mail goes out",
    "tells": "the answer tells whether an input exists",
    "hides": "neither the answer nor its time tells whether an input exists",
    "folds": "the past is read, charged by its events",
    "follows": "charged by its items while it lives",
    "posts": "a request goes to an address that a client gave",
}


def require_doors(routes: Iterable[BaseRoute]) -> None:
    """Raises UndeclaredDoor for a route of which nobody has said what it costs and tells."""
    commands = {f"{COMMANDS_PATH}/{name}" for name in PUBLIC}
    paths = set(_paths(routes))
    if undeclared := sorted(paths - set(ROUTES) - commands):
        raise UndeclaredDoor(
            f"The route {undeclared[0]} declares no door: say in api.doors.ROUTES what it costs and tells, or that it "
            "is nothing (PLAIN)."
        )


def _paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Of routers that were taken in whole, those of their routes: none of ours has a prefix beside its own."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield getattr(route, "path", repr(route))
        else:
            yield from _paths(router.routes)


def told(door: Door) -> str:
    """What a door costs and tells, in one line."""
    return "; ".join(_parts(door)) or "nothing more"


def _parts(door: Door) -> Iterator[str]:
    if door.guesses:
        yield f"guess (`{door.guesses}`{f' of `{door.of}`' if door.of else ''})"
    if door.hashes:
        yield f"hash ({door.hashes})"
    if door.mails:
        yield "mail (to the address on record)" if door.mails == OWN else f"mail (to `{door.mails}`)"
    if door.tells:
        yield f"oracle (`{door.tells}`)"
    if door.hides:
        yield f"hides (`{door.hides}`)"
    for name, on in (("folds", door.folds), ("follows", door.follows), ("posts", door.posts)):
        if on:
            yield name


def page() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_commands(), *_fields(), *_routes(), *_rates(), ""])


def _head() -> Iterator[str]:
    yield "# What asking costs and tells"
    yield ""
    yield "Made by `python -m api.doors` from what the code declares; held by `tests/api/test_doors.py`."
    yield "Beside this everything costs points: see [limits](limits.md)."
    yield ""
    yield from ("| kind | means |", "|---|---|", *(f"| {name} | {meaning} |" for name, meaning in KINDS.items()))


def _commands() -> Iterator[str]:
    yield from ("", "## Commands", "", "| command | over | costs and tells |", "|---|---|---|")
    mutations = {name for root, name, _ in doors_of(schema._schema) if root == "Mutation"}
    for name, command in sorted(BY_NAME.items()):
        mutation = command.name[0].lower() + command.name[1:]
        served = ["REST"] * (name in PUBLIC) + [f"`{mutation}`"] * (mutation in mutations)
        yield f"| `{name}` | {', '.join(served) or 'Kontor itself'} | {told(command.door)} |"


def _fields() -> Iterator[str]:
    yield from ("", "## Root fields that are no command", "", "| field | costs and tells |", "|---|---|")
    names = {each.name[0].lower() + each.name[1:] for each in COMMANDS.values()}
    for root, name, door in sorted(doors_of(schema._schema), key=lambda each: each[:2]):
        if root != "Mutation" or name not in names:
            yield f"| `{root}.{name}` | {told(door)} |"


def _routes() -> Iterator[str]:
    yield from ("", "## Other routes", "", "| route | costs and tells |", "|---|---|")
    yield from (f"| `{path}` | {told(door)} |" for path, door in sorted(ROUTES.items()))


def _rates() -> Iterator[str]:
    yield from ("", "## How often", "", "| of | at once | and one more every |", "|---|---|---|")
    for what, rate in RATES.items():
        yield f"| {what} | {rate.burst} | {rate.every_s:g} s |"
    yield ""
    yield f"A network of IPv6 with {IPV6_SITE_PREFIX} bits may have {SITE_TIMES} times as much as one of {IPV6_PREFIX}."


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")
