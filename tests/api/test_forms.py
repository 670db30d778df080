"""Commands as JSON: the table of contents is served whole, and what comes in is checked before it is a command."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLObjectType
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from api.app import create_app
from api.graphql.schema import schema
from api.rest.examples import EXAMPLES
from api.rest.forms import BY_NAME, PUBLIC, command_of, form_of, json_schema, readable
from commands import COMMANDS
from commands.handling import Actor, system
from commands.orders import PlaceOrder, WantedLine
from commands.users import RegisterUser
from domain.errors import DomainError, Invalid
from domain.money import Money
from domain.users import Role
from tests.given import PASSWORD, InMemory

# Commands that the contract's GraphQL does not have, and mutations that are no commands.
NOT_IN_GRAPHQL = {"updateWebhook"}
NO_COMMANDS = {"refreshTokens"}
ORDER: dict[str, Any] = {"lines": [{"sku": "A", "quantity": 2}], "currency": "GBP", "paymentMethod": "card"}


def filled(kind: type[Any], given: dict[str, Any]) -> Any:
    return command_of(kind, form_of(kind).model_validate_json(json.dumps(given)))


def test_every_public_command_has_a_route_and_no_other_has() -> None:
    served = create_app(lambda: None, environment="development").openapi()["paths"]  # type: ignore[arg-type,return-value]
    posts = {
        path.removeprefix("/v1/commands/") for path, how in served.items() if "v1/commands/" in path and "post" in how
    }
    assert posts == set(PUBLIC)
    assert {command.permission for name, command in BY_NAME.items() if name not in PUBLIC} == {system}
    assert len(BY_NAME) == len(COMMANDS)


def test_every_public_command_is_a_mutation_of_the_same_name_and_every_mutation_a_command() -> None:
    mutation = schema._schema.mutation_type
    assert isinstance(mutation, GraphQLObjectType)
    commands = {command.name[0].lower() + command.name[1:] for command in PUBLIC.values()}
    assert set(mutation.fields) == (commands - NOT_IN_GRAPHQL) | NO_COMMANDS


def test_every_command_has_a_json_schema_that_refuses_unknown_names() -> None:
    for name, command in BY_NAME.items():
        made = json_schema(command)
        assert made["additionalProperties"] is False, name
        assert made["title"] == command.name


def test_every_public_command_has_an_example_that_fits_its_schema_and_every_rule_of_its_own() -> None:
    assert list(EXAMPLES) == list(PUBLIC)
    for name, command in PUBLIC.items():
        made = json_schema(command)
        assert made["examples"] == [EXAMPLES[name]], name
        Draft202012Validator(made).validate(EXAMPLES[name])
        filled(command.request, dict(EXAMPLES[name]))


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"verify-email", "undo-email-change", "reset-password"}))
async def test_an_example_is_refused_for_what_there_is_not_yet_never_for_what_it_says(name: str) -> None:
    kontor = InMemory()
    everything = RegisterUser(email="bob@example.com", name="Bob", password=PASSWORD, roles=tuple(Role))
    actor = Actor.user((await kontor.execute(everything)).aggregate_id, list(Role))
    code = "done"
    try:
        await kontor.execute(filled(PUBLIC[name].request, dict(EXAMPLES[name])), actor)
    except DomainError as refusal:
        code = refusal.code
    assert code in {"done", "NOT_FOUND", "BAD_CREDENTIALS", "MFA_INVALID", "ILLEGAL_TRANSITION"}


def test_the_openapi_document_shows_the_examples() -> None:
    document = create_app(lambda: None, environment="development").openapi()  # type: ignore[arg-type,return-value]
    for name in PUBLIC:
        content = document["paths"][f"/v1/commands/{name}"]["post"]["requestBody"]["content"]["application/json"]
        shown = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert shown["examples"] == [EXAMPLES[name]]


def test_a_form_becomes_the_command() -> None:
    given = ORDER | {
        "lines": [{"sku": "A", "quantity": 2, "unitPrice": {"amount": "2.55", "currency": "GBP"}}],
        "customerId": str(UUID(int=5)),
        "placedAt": "2026-01-01T13:00:00+01:00",
    }
    assert filled(PlaceOrder, given) == PlaceOrder(
        lines=(WantedLine(sku="A", quantity=2, unit_price=Money(255, "GBP")),),
        currency="GBP",
        payment_method="card",
        customer_id=UUID(int=5),  # type: ignore[arg-type]
        placed_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": None}, "lines"),
        ({"lines": "A"}, "lines"),
        ({"lines": [{"sku": "A"}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "A", "quantity": "2"}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "A", "quantity": 2.5}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "A", "quantity": True}]}, "lines.0.quantity"),
        ({"lines": [{"sku": 5, "quantity": 1}]}, "lines.0.sku"),
        ({"lines": [{"sku": "A", "quantity": 1, "unitPrice": 2.55}]}, "lines.0.unitPrice"),
        ({"lines": [{"sku": "A", "quantity": 1, "unitPrice": {"amount": 2.55, "currency": "GBP"}}]}, "amount"),
        ({"customerId": "7"}, "customerId"),
        ({"placedAt": 1_700_000_000}, "placedAt"),
        ({"placedAt": "2026-01-01T13:00:00"}, "placedAt"),
        ({"payment_method": "card"}, "payment_method"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_where(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        filled(PlaceOrder, ORDER | change)
    assert any(
        ".".join(each["field"]).startswith(field) or each["field"][-1] == field for each in readable(refused.value)
    )


@pytest.mark.parametrize("amount", ["NaN", "1e9", "-1", "2.555", "99999999999", "", "two"])
def test_an_amount_that_is_none_is_invalid(amount: str) -> None:
    line = {"sku": "A", "quantity": 1, "unitPrice": {"amount": amount, "currency": "GBP"}}
    with pytest.raises(Invalid):
        filled(PlaceOrder, ORDER | {"lines": [line]})


def test_what_is_wrong_is_told_without_the_values() -> None:
    with pytest.raises(ValidationError) as refused:
        filled(COMMANDS_BY_CLASS["RegisterUser"], {"email": "a@b.example", "name": "A", "password": 12345})
    assert "12345" not in json.dumps(readable(refused.value))


COMMANDS_BY_CLASS = {command.name: command.request for command in COMMANDS.values()}
