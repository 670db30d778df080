"""What an operation may cost at most, counted from its document before anything is executed.

The unit is a point: about one object of the answer. Scalars and small values (money, page information, edges) are free.
A field with `first` counts what is below it that often. A list without `first` has a weight in `LISTS`; the fields of
`SURCHARGES` cost more because more is done for them. A selection that `@skip` or `@include` leaves out for these
variables is not counted; fields that would be merged are counted each.

A document is read once (`cost_of`), a fragment once however often it is spread; what is left is a small function of the
variables. So counting is linear in the document, also where fragments multiply each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
)

from api.graphql.cursors import PAGE_ROWS

FREE: Final = frozenset({"Money", "PageInfo", "Receipt", "UserError"})
# How many there are in a list that has no `first`: what is usual, not what is possible.
LISTS: Final[Mapping[str, int]] = {
    "Order.lines": 5,
    "Product.categories": 2,
    "ProductConnection.facets": 3,
    "Facet.values": 20,
    "Query.categories": 50,
    "Query.mySessions": 5,
    "Query.salesByDay": 30,
    "Query.views": 20,
    "Query.webhookEndpoints": 20,
}
LIST_ROWS: Final = 20  # of every list that is not named
MUTATION: Final = 10
INTROSPECTION: Final = 100
SURCHARGES: Final[Mapping[str, int]] = {
    "ProductConnection.facets": 20,
    "ProductConnection.totalCount": 5,
    "OrderConnection.totalCount": 5,
    "UserConnection.totalCount": 5,
}
_ROWS: Final = frozenset({"nodes", "edges"})  # of a connection: as many as its field was asked for

Variables = Mapping[str, Any]
Measure = tuple[int, int]  # points once, and points for each row of the page around


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One selection. `page` and `rows` say how often what is below counts; `fragment` is spread here."""

    own: int = 0
    below: tuple[Part, ...] = ()
    fragment: str | None = None
    is_page: bool = False
    is_connection: bool = False
    is_row: bool = False
    size: int | str = 1  # a number, or the variable that has it
    usual: int = 1  # where the variable has none
    unless: tuple[tuple[str | bool, bool], ...] = ()  # (variable or value, what leaves this out)


@dataclass(frozen=True, slots=True)
class OperationCost:
    """Of one operation of a valid document; holds nothing of a request, so that it may be kept."""

    parts: tuple[Part, ...]
    fragments: Mapping[str, tuple[Part, ...]]
    defaults: Mapping[str, Any]

    def of(self, variables: Variables | None) -> int:
        """The points with these variables, at least 1."""
        counting = _Counting(self.fragments, {**self.defaults, **(variables or {})})
        once, per_row = counting.all(self.parts)
        return max(1, once + per_row)


@dataclass(slots=True)
class _Counting:
    fragments: Mapping[str, tuple[Part, ...]]
    variables: Variables
    known: dict[str, Measure] = field(default_factory=dict)

    def all(self, parts: Iterable[Part]) -> Measure:
        once = per_row = 0
        for part in parts:
            if not self._left_out(part):
                more_once, more_per_row = self._one(part)
                once, per_row = once + more_once, per_row + more_per_row
        return once, per_row

    def _one(self, part: Part) -> Measure:
        if part.fragment is not None:
            if part.fragment not in self.known:
                self.known[part.fragment] = self.all(self.fragments[part.fragment])
            return self.known[part.fragment]
        once, per_row = self.all(part.below)
        if part.is_row:
            return 0, part.own + once + per_row
        size = self._size(part)
        if part.is_connection:
            return part.own + once + size * per_row, 0
        if part.is_page:
            return size * (part.own + once + per_row), 0
        return part.own + size * once, size * per_row

    def _size(self, part: Part) -> int:
        size = self.variables.get(part.size) if isinstance(part.size, str) else part.size
        if isinstance(size, float) and size.is_integer():  # such a number passes for an Int
            size = int(size)
        return max(0, size) if isinstance(size, int) else part.usual

    def _left_out(self, part: Part) -> bool:
        for condition, leaves_out in part.unless:
            value = self.variables.get(condition) if isinstance(condition, str) else condition
            if value is leaves_out:
                return True
        return False


def cost_of(schema: GraphQLSchema, document: DocumentNode, operation_name: str | None) -> OperationCost:
    """The cost of the operation that would be executed. The document must have been found valid; raises LookupError for
    one without that operation."""
    reading = _Reading(schema, document)
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    named = [each for each in operations if operation_name is None or (each.name and each.name.value == operation_name)]
    if len(named) != 1:
        raise LookupError(f"The document has {len(named)} operations of the name {operation_name}.")
    (operation,) = named
    root = schema.get_root_type(operation.operation)
    assert root is not None
    parts = reading.parts(operation.selection_set, root)
    defaults = {
        each.variable.name.value: _value(each.default_value)
        for each in operation.variable_definitions or ()
        if each.default_value is not None
    }
    return OperationCost(parts, reading.fragments, defaults)


class _Reading:
    """Turns selections into parts; a fragment once."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._written = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self.fragments: dict[str, tuple[Part, ...]] = {}

    def parts(self, selections: SelectionSetNode, parent: GraphQLNamedType) -> tuple[Part, ...]:
        """What is selected of an object of this type."""
        found = []
        for each in selections.selections:
            unless = _conditions(each.directives)
            if isinstance(each, FragmentSpreadNode):
                found.append(Part(fragment=self._fragment(each.name.value), unless=unless))
            elif isinstance(each, InlineFragmentNode):
                kind = self._type(each.type_condition.name.value) if each.type_condition else parent
                found.append(Part(below=self.parts(each.selection_set, kind), unless=unless))
            elif isinstance(each, FieldNode):
                found.append(self._field(each, parent, unless))
        return tuple(found)

    def _field(self, node: FieldNode, parent: GraphQLNamedType, unless: tuple[tuple[str | bool, bool], ...]) -> Part:
        name = node.name.value
        if name.startswith("__"):
            return Part(own=0 if name == "__typename" else INTROSPECTION, unless=unless)
        fields: Mapping[str, GraphQLField] = getattr(parent, "fields", {})
        definition = fields[name]
        place = f"{parent.name}.{name}"
        surcharge = MUTATION if parent is self._schema.mutation_type else SURCHARGES.get(place, 0)
        kind = get_named_type(definition.type)
        if not is_composite_type(kind):
            return Part(own=surcharge, unless=unless)
        below = self.parts(node.selection_set, kind) if node.selection_set else ()
        weight = 0 if kind.name in FREE or kind.name.endswith("Edge") else 1
        is_list = is_list_type(get_nullable_type(definition.type))
        if "first" in definition.args:
            size, usual = _asked(node, definition)
            return Part(
                own=weight + surcharge,
                below=below,
                is_page=is_list,
                is_connection=not is_list,
                size=size,
                usual=usual,
                unless=unless,
            )
        if not is_list:
            return Part(own=weight + surcharge, below=below, unless=unless)
        if parent.name.endswith("Connection") and name in _ROWS:
            return Part(own=weight, below=below, is_row=True, unless=unless)
        rows = 0 if kind.name in FREE else LISTS.get(place, LIST_ROWS)
        return Part(own=surcharge + rows * weight, below=below, size=rows, unless=unless)

    def _fragment(self, name: str) -> str:
        if name not in self.fragments:
            written = self._written[name]
            self.fragments[name] = self.parts(written.selection_set, self._type(written.type_condition.name.value))
        return name

    def _type(self, name: str) -> GraphQLNamedType:
        kind = self._schema.get_type(name)
        assert kind is not None
        return kind


def _asked(node: FieldNode, definition: GraphQLField) -> tuple[int | str, int]:
    """How many rows a field is asked for, as a number or a variable, and how many without either."""
    default = definition.args["first"].default_value
    usual = default if isinstance(default, int) else PAGE_ROWS
    for argument in node.arguments or ():
        if argument.name.value == "first":
            if isinstance(argument.value, VariableNode):
                return argument.value.name.value, usual
            value = _value(argument.value)
            return (value, usual) if isinstance(value, int) else (usual, usual)
    return usual, usual


def _conditions(directives: Iterable[DirectiveNode] | None) -> tuple[tuple[str | bool, bool], ...]:
    found: list[tuple[str | bool, bool]] = []
    for directive in directives or ():
        if directive.name.value not in ("skip", "include"):
            continue
        for argument in directive.arguments or ():
            if argument.name.value == "if":
                given = argument.value
                value = given.name.value if isinstance(given, VariableNode) else _value(given)
                if isinstance(value, str | bool):
                    found.append((value, directive.name.value == "skip"))
    return tuple(found)


def _value(node: ValueNode | None) -> Any:
    """A number or truth value that stands in the document; None for anything else, which no cost depends on."""
    if isinstance(node, IntValueNode):
        return int(node.value)
    if isinstance(node, BooleanValueNode):
        return node.value
    return None
