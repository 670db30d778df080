"""A document becomes a plan: graphql-core collects what is selected, the tables say how it is read.

A plan depends on the document, the operation and the values of the variables in its @skip and @include; all else that
varies is an argument of a root, read anew for each answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FieldDetailsList, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from api.graphql.compiled.roots import ROOTS
from api.graphql.compiled.shapes import Column, Constant, Fetched, Leaves, Linked, LinkedLists, Lists, Parts, Shape
from api.graphql.compiled.tables import TABLES, Asked, Entry, Leaf, Link
from api.graphql.documents import Document
from api.graphql.resolvers import DOOR, WHO
from commands.doors import Door
from commands.handling import Permission

PLANS_MAX: Final = 32  # of one document
_TYPENAME: Final = "__typename"


class Unknown(Exception):
    """The document has something that no table has."""


@dataclass(frozen=True)
class RootPlan:
    """One root field: its place in the answer, its nodes, and the shape of what it finds; no shape for __typename."""

    key: str
    name: str
    nodes: tuple[FieldNode, ...]
    field: GraphQLField | None
    shape: Shape | None

    @property
    def nullable(self) -> bool:
        return self.field is not None and not is_non_null_type(self.field.type)

    @cached_property
    def arguments(self) -> list[StrawberryArgument]:
        """How the resolver's keyword arguments are made of GraphQL's."""
        return self._definition.arguments

    @cached_property
    def who(self) -> Permission:
        """Who may ask; see `api.graphql.resolvers`."""
        permission: Permission = self._definition.metadata[WHO]
        return permission

    @cached_property
    def door(self) -> Door:
        """What it costs and tells; see `api.graphql.resolvers`."""
        declared: Door = self._definition.metadata[DOOR]
        return declared

    @property
    def _definition(self) -> StrawberryField:
        assert self.field is not None
        definition: StrawberryField = self.field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
        return definition


@dataclass(frozen=True, slots=True)
class Plan:
    """What one operation selects."""

    document: Document
    roots: tuple[RootPlan, ...]
    whole: Shape


def plan_of(
    document: Document, operation: OperationDefinitionNode, variables: VariableValues, schema: GraphQLSchema
) -> Plan | None:
    """The plan, made once for these flags; None for what only the ordinary path can answer."""
    flags = (id(operation), *[variables.coerced.get(name) for name in document.flags])
    plans = document.plans
    if flags not in plans:
        if len(plans) >= PLANS_MAX:
            plans.clear()
        try:
            plans[flags] = _Compiler(document, operation, variables, schema).plan()
        except (Unknown, GraphQLError, RecursionError):
            plans[flags] = None
    found: Plan | None = plans[flags]
    return found


class _Compiler:
    """Makes one plan."""

    def __init__(
        self, document: Document, operation: OperationDefinitionNode, variables: VariableValues, schema: GraphQLSchema
    ) -> None:
        self._document = document
        self._operation = operation
        self._variables = variables
        self._schema = schema
        self._fragments = {
            definition.name.value: FragmentDetails(definition)
            for definition in document.tree.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }

    def plan(self) -> Plan:
        """Raises Unknown, and GraphQLError for a directive that cannot be decided."""
        query = self._schema.query_type
        if self._operation.operation is not OperationType.QUERY or self._operation.directives or query is None:
            raise Unknown
        collected = collect_fields(self._schema, self._fragments, self._variables, query, self._operation)
        roots = tuple(self._root(query, key, details) for key, details in collected.grouped_field_set.items())
        # The columns of the whole are the roots' answers, which `api.graphql.compiled.answering` has already.
        whole = Shape([root.key for root in roots], [_root_column(place) for place in range(len(roots))])
        return Plan(self._document, roots, whole)

    def _root(self, query: GraphQLObjectType, key: str, details: FieldDetailsList) -> RootPlan:
        nodes = self._nodes(details)
        name = nodes[0].name.value
        if name == _TYPENAME:
            return RootPlan(key, name, nodes, None, None)
        root, field = ROOTS.get(name), query.fields.get(name)
        if root is None or field is None or str(field.type) != root.type:
            raise Unknown(name)
        return RootPlan(key, name, nodes, field, self._shape(field, details))

    def _shape(self, field: GraphQLField, details: FieldDetailsList) -> Shape:
        kind = get_named_type(field.type)
        if not isinstance(kind, GraphQLObjectType) or kind.name not in TABLES:
            raise Unknown(str(kind))
        collected = collect_subfields(
            self._schema, self._fragments, self._variables, self._operation, kind, details
        ).grouped_field_set
        return Shape(list(collected), [self._column(kind, each) for each in collected.values()])

    def _column(self, kind: GraphQLObjectType, details: FieldDetailsList) -> Column:
        name = self._nodes(details)[0].name.value
        if name == _TYPENAME:
            return Constant(kind.name)
        entry, field = TABLES[kind.name].get(name), kind.fields.get(name)
        if entry is None or field is None or field.args or str(field.type) != entry.type:
            raise Unknown(name)
        return self._read(entry, field, details)

    def _read(self, entry: Entry, field: GraphQLField, details: FieldDetailsList) -> Column:
        if isinstance(entry, Leaf):
            return Leaves(entry.read, checked=entry.type == "Int!")
        if isinstance(entry, Asked):
            return Fetched(entry.fetch)
        shape = self._shape(field, details)
        several = is_list_type(field.type.of_type if is_non_null_type(field.type) else field.type)
        if isinstance(entry, Link):
            return (LinkedLists if several else Linked)(entry.key, entry.fetch, shape)
        return (Lists if several else Parts)(entry.read, shape, shape.waits)

    def _nodes(self, details: FieldDetailsList) -> tuple[FieldNode, ...]:
        if any(each.defer_usage or each.fragment_variable_values for each in details):
            raise Unknown("deferred or parametrised")
        nodes = tuple(each.node for each in details)
        if any(
            directive.name.value not in ("skip", "include") for node in nodes for directive in node.directives or ()
        ):
            raise Unknown("directive")
        return nodes


def _root_column(place: int) -> Any:
    return Leaves(lambda answers: answers[place])
