"""The exported schema is current, described, and what frontends were promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, print_ast

from api.graphql import export
from api.graphql.receipts import UserErrorCode
from api.graphql.schema import schema
from domain import errors

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT.parent / "shared" / "contract" / "schema.graphql"
# What the contract does not have: it may be added to.
ADDED = {"UserErrorCode.IDEMPOTENCY_PREVIOUS_FAILED"}
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


def test_every_type_and_field_has_a_description() -> None:
    bare = []
    for name, kind in ours(schema._schema).items():
        if not kind.description:
            bare.append(name)
        bare += [f"{name}.{f}" for f, field in getattr(kind, "fields", {}).items() if not field.description]
    assert bare == []


def test_what_is_served_has_the_types_of_the_contract() -> None:
    if not CONTRACT.exists():
        pytest.skip(f"the contract is not there to compare with: {CONTRACT}")
    promised = ours(build_schema(CONTRACT.read_text(encoding="utf-8")))
    served = ours(build_schema(export.sdl()))
    assert sorted(set(served) - set(promised)) == []
    differing: dict[str, tuple[str, str | None]] = {}
    for name, kind in served.items():
        assert isinstance(kind, type(promised[name])), name
        there, here = slots(promised[name], name), slots(kind, name)
        differing |= {slot: (what, there.get(slot)) for slot, what in here.items() if there.get(slot) != what}
    for added in ADDED:
        differing.pop(added)
    assert differing == {}


def test_every_rejection_of_the_domain_has_a_public_code() -> None:
    codes = {
        kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DomainError)
    }
    assert codes == {code.value for code in UserErrorCode}
