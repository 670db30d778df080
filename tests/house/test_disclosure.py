"""Every text that a command takes, an event keeps or an input of the API has says how far it may spread."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType

from api.graphql.schema import schema
from api.rest.forms import BY_NAME
from commands import COMMANDS
from commands.requests import request_digest
from domain.disclosure import SECRET_NAMES, Disclosure, KeepsSecrets, Secret, classified, hidden_repr, secret_fields
from tests.house.test_stored_names import EVENTS, as_written

# What the mutations take as text and hand to a command as a Secret, or show to its owner once.
# The token of a receipt names positions in the log.
NO_SECRETS = {"Receipt", "Query", "Mutation", "Subscription"}
SECRETS_IN_CLEAR = ("secret", "provisioning_uri", *SECRET_NAMES)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.__name__)
def test_every_text_of_a_command_is_classified(command: Any) -> None:
    classes = {each.disclosure for each in classified(command)}
    assert Disclosure.SEALED not in classes, "a command brings what a person typed; its handler seals it"
    if Disclosure.SECRET in classes:
        assert issubclass(command, KeepsSecrets), "derive it from KeepsSecrets, so that no plain text stays in it"
        assert secret_fields(command), "a secret stands in the command itself, where the digest leaves it out"


@pytest.mark.parametrize("event", EVENTS, ids=lambda each: each.__qualname__)
def test_every_text_of_an_event_is_plain_or_sealed(event: Any) -> None:
    hints = {name: hint for base in as_written(event) for name, hint in own_hints(base).items()}
    for each in classified(event, hints):
        assert each.disclosure in {Disclosure.PLAIN, Disclosure.SEALED}, each


def own_hints(base: Any) -> dict[str, Any]:
    names = inspect.get_annotations(base)
    return {name: hint for name, hint in get_type_hints(base, include_extras=True).items() if name in names}


@pytest.mark.parametrize("name", [name for name, each in BY_NAME.items() if secret_fields(each.request)])
def test_the_schema_of_a_secret_is_write_only(name: str) -> None:
    from api.rest.forms import json_schema  # noqa: PLC0415

    text = str(json_schema(BY_NAME[name]))
    assert text.count("'writeOnly': True") == len(secret_fields(BY_NAME[name].request))


def test_what_the_api_takes_or_shows_in_clear_has_no_repr() -> None:
    found = []
    for name, kind in schema._schema.type_map.items():
        if (
            isinstance(kind, GraphQLObjectType | GraphQLInputObjectType)
            and not name.startswith("__")
            and name not in NO_SECRETS
        ):
            origin = getattr(kind.extensions.get("strawberry-definition"), "origin", None)
            fields = getattr(origin, "__dataclass_fields__", {})
            named = {each for each in fields if sounds_secret(each)}
            if named:
                found.append(name)
                assert origin.__repr__ is hidden_repr, f"{name} has {named}: give it hidden_repr"
    assert {"SignInInput", "RegisterUserInput", "Tokens", "MfaPayload", "WebhookPayload"} <= set(found)


def sounds_secret(name: str) -> bool:
    """`code` alone is what errors have; `tokens` is an object with a repr of its own."""
    words = {*(word.rstrip("s") for word in name.split("_")), name}
    return not words.isdisjoint(SECRETS_IN_CLEAR) and name not in {"code", "tokens"}


@pytest.mark.parametrize("command", [each for each in COMMANDS if secret_fields(each)], ids=lambda each: each.__name__)
def test_no_secret_enters_a_digest(command: Any) -> None:
    """Two requests that differ in their secrets alone have one digest."""
    digests = {request_digest(with_secrets(command, text), key=b"key") for text in ("one", "two")}
    assert len(digests) == 1


def with_secrets(command: Any, text: str) -> Any:
    hidden = secret_fields(command)
    hints = get_type_hints(command)
    given = {name: Secret(text) if name in hidden else "x" for name in hints if name != "roles"}
    return command(**given)
