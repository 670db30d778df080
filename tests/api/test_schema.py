"""The exported schema is current, described, and what frontends were promised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, find_breaking_changes, print_ast

from api.graphql import descriptions, export
from api.graphql.receipts import UserErrorCode
from api.graphql.schema import schema
from domain import errors

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT.parent / "shared" / "contract" / "schema.graphql"
# What the contract does not have: it may be added to.
ADDED = {
    "UserErrorCode.IDEMPOTENCY_PREVIOUS_FAILED",
    "UserErrorCode.ACCOUNT_SUSPENDED",
    "Query.events(actor)",
    "Query.node(consistentWith)",
    "User.suspendedAt",
    "User.pendingEmail",
    "Mutation.undoEmailChange",
    "Mutation.undoEmailChange(token)",
    *(f"Mutation.{name}" for name in ("suspendUser", "suspendUser(reason)", "resumeUser", "endSessions", "resetMfa")),
    *(
        f"Mutation.{name}({argument})"
        for name in ("suspendUser", "resumeUser", "endSessions", "resetMfa")
        for argument in ("userId", "idempotencyKey")
    ),
    *(f"Mutation.{name}(currentPassword)" for name in ("updateProfile", "enableMfa", "disableMfa", "eraseUser")),
    *(f"Mutation.{name}(mfaCode)" for name in ("updateProfile", "changePassword", "eraseUser")),
    "UserErrorCode.REAUTHENTICATION_REQUIRED",
}
ADDED_TYPES = {"SuspensionReason"}
# What the contract has and nobody serves yet.
MISSING: set[str] = set()
# A code that no rejection has yet.
PROMISED_CODES = {"PAYMENT_DECLINED"}
BUILT_IN = {"String", "Int", "Float", "Boolean", "ID"}


def ours(core: GraphQLSchema) -> dict[str, Any]:
    return {name: kind for name, kind in core.type_map.items() if not name.startswith("__") and name not in BUILT_IN}


def slots(kind: Any, prefix: str) -> dict[str, str]:
    """Every field, argument and enum value of a type, with its type and default as text."""
    if hasattr(kind, "values"):
        return {f"{prefix}.{value}": "value" for value in kind.values}
    found = {}
    for name, field in getattr(kind, "fields", {}).items():
        found[f"{prefix}.{name}"] = typed(field)
        for argument_name, argument in getattr(field, "args", {}).items():
            found[f"{prefix}.{name}({argument_name})"] = typed(argument)
    return found


def typed(slot: Any) -> str:
    default = getattr(slot.ast_node, "default_value", None)
    return f"{slot.type} = {print_ast(default)}" if default else str(slot.type)


def test_the_exported_schema_is_current() -> None:
    assert export.PLACE.read_text(encoding="utf-8") == export.sdl(), "run: python -m api.graphql.export"


def described(kind: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A type and every part of it that has a description."""
    yield name, kind
    for part, value in (getattr(kind, "values", None) or getattr(kind, "fields", {})).items():
        yield f"{name}.{part}", value
        for argument_name, argument in getattr(value, "args", {}).items():
            yield f"{name}.{part}({argument_name})", argument


def test_every_type_field_argument_and_enum_value_has_a_description() -> None:
    everything = [part for name, kind in ours(build_schema(export.sdl())).items() for part in described(kind, name)]
    assert len(everything) > 500
    assert [name for name, part in everything if not part.description] == []


def test_nothing_is_described_that_is_not_there() -> None:
    core = schema._schema
    arguments = {
        argument
        for kind in ours(core).values()
        for field in getattr(kind, "fields", {}).values()
        for argument in getattr(field, "args", {})
    }
    assert set(descriptions.ARGUMENTS) - arguments == set()
    assert {
        enum: set(values) - set(core.type_map[enum].values) for enum, values in descriptions.ENUM_VALUES.items()
    } == {enum: set() for enum in descriptions.ENUM_VALUES}


def test_what_is_served_has_the_types_of_the_contract() -> None:
    if not CONTRACT.exists():
        pytest.skip(f"the contract is not there to compare with: {CONTRACT}")
    promised = ours(build_schema(CONTRACT.read_text(encoding="utf-8")))
    served = ours(build_schema(export.sdl()))
    assert set(served) - set(promised) == ADDED_TYPES
    differing: dict[str, tuple[str, str | None]] = {}
    for name, kind in served.items():
        if name in ADDED_TYPES:
            continue
        assert isinstance(kind, type(promised[name])), name
        there, here = slots(promised[name], name), slots(kind, name)
        differing |= {slot: (what, there.get(slot)) for slot, what in here.items() if there.get(slot) != what}
    for added in ADDED:
        differing.pop(added)
    assert differing == {}


def test_nothing_that_was_promised_has_broken_but_what_is_known_to_be_missing() -> None:
    if not CONTRACT.exists():
        pytest.skip(f"the contract is not there to compare with: {CONTRACT}")
    assert broken_since(CONTRACT) == MISSING, "what is there now has to leave the list; nothing may be added to it"


def test_nothing_that_was_released_has_broken() -> None:
    assert broken_since(export.RELEASED) == set()


def broken_since(earlier: Path) -> set[str]:
    """What a client of the earlier schema would miss."""
    return {
        change.description
        for change in find_breaking_changes(
            build_schema(earlier.read_text(encoding="utf-8")), build_schema(export.sdl())
        )
    }


def test_every_rejection_of_the_domain_has_a_public_code() -> None:
    codes = {
        kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DomainError)
    }
    assert codes == {code.value for code in UserErrorCode} - PROMISED_CODES
