"""Requests that are made from the schema: whatever is added to it is asked for, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

USUAL: dict[str, Any] = {
    "ID": "00000000-0000-0000-0000-000000000001",
    "String": "text",
    "Int": 1,
    "Float": 1.0,
    "Boolean": True,
    "Decimal": "1.00",
    "CurrencyCode": "GBP",
    "DateTime": "2026-01-01T00:00:00Z",
    "ConsistencyToken": "",
    "Cursor": "0",
}
Slot = tuple[str, ...]  # argument, and the fields of its input that lead there


@dataclass(frozen=True, slots=True)
class Root:
    """A field of Query or Mutation."""

    operation: str
    name: str
    field: GraphQLField

    @property
    def place(self) -> str:
        return f"{self.operation}.{self.name}"

    @property
    def document(self) -> str:
        """Asks for it, with every argument a variable; of what is found, for something of every kind of payload."""
        declared = ", ".join(f"${name}: {argument.type}" for name, argument in self.field.args.items())
        passed = ", ".join(f"{name}: ${name}" for name in self.field.args)
        head = f"{self.operation}{f'({declared})' if declared else ''}"
        return f"{head} {{ {self.name}{f'({passed})' if passed else ''} {self._selection()} }}"

    def _selection(self) -> str:
        kind = get_named_type(self.field.type)
        if not is_composite_type(kind):
            return ""
        fields = getattr(kind, "fields", {})
        shown = [name for name in ("id", "ok", "slug", "name") if name in fields]
        shown += ["userErrors { code message field }"] if "userErrors" in fields else []
        shown += ["nodes { id }"] if "nodes" in fields else []
        return "{ " + " ".join(["__typename", *shown]) + " }"

    def variables(self) -> dict[str, Any]:
        """The required ones, with something usual."""
        return {name: usual(arg.type) for name, arg in self.field.args.items() if is_required_argument(arg)}

    def slots(self) -> Iterator[tuple[Slot, GraphQLInputType]]:
        """Every place where a value goes, inputs and lists taken apart."""
        for name, argument in self.field.args.items():
            yield from _slots((name,), argument.type)

    def with_value(self, slot: Slot, value: Any) -> dict[str, Any]:
        """The variables, with this value there."""
        variables = self.variables()
        kinds: Any = {name: argument.type for name, argument in self.field.args.items()}
        at: Any = variables
        for step in slot[:-1]:
            if not at.get(step):
                at[step] = usual(kinds[step], full=True)
            at, kinds = at[step], {name: each.type for name, each in get_named_type(kinds[step]).fields.items()}
            if isinstance(at, list):
                at = at[0]
        at[slot[-1]] = value
        return variables


def roots(schema: GraphQLSchema) -> list[Root]:
    """Everything that can be asked for."""
    found = [("query", schema.query_type), ("mutation", schema.mutation_type)]
    return [Root(operation, name, field) for operation, kind in found if kind for name, field in kind.fields.items()]


def usual(kind: GraphQLInputType, *, full: bool = False) -> Any:
    """Something of this type; `full` lists are not empty."""
    bare = get_nullable_type(kind)
    if is_list_type(bare):
        return [usual(bare.of_type, full=full)]
    if isinstance(bare, GraphQLInputObjectType):
        return {name: usual(each.type) for name, each in bare.fields.items() if is_required_input_field(each)}
    if isinstance(bare, GraphQLEnumType):
        return next(iter(bare.values))
    return USUAL[bare.name]


def _slots(slot: Slot, kind: GraphQLInputType) -> Iterator[tuple[Slot, GraphQLInputType]]:
    yield slot, kind
    named = get_named_type(kind)
    if isinstance(named, GraphQLInputObjectType):
        for name, each in named.fields.items():
            yield from _slots((*slot, name), each.type)


def requests_with(
    schema: GraphQLSchema, values: Mapping[str, Sequence[Any]], other_values: Sequence[Any]
) -> list[tuple[str, str, dict[str, Any]]]:
    """Each place with each value for its type, or the others: what it is called, the document, the variables."""
    return [
        (f"{root.place}({'.'.join(slot)})", root.document, root.with_value(slot, value))
        for root in roots(schema)
        for slot, kind in root.slots()
        for value in values.get(get_named_type(kind).name, other_values)
    ]
