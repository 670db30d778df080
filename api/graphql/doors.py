"""The doors of the schema: what each root field costs and tells. A mutation's are its command's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from api.graphql.resolvers import DOOR
from commands import COMMANDS
from commands.doors import Door, require_declared

_OF_COMMANDS: Final = {each.name[0].lower() + each.name[1:]: each.door for each in COMMANDS.values()}


def doors_of(schema: GraphQLSchema) -> Iterator[tuple[str, str, Door]]:
    """Root, field and door of each root field. Raises UndeclaredDoor for one that has none."""
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert isinstance(root, GraphQLObjectType)
        for name, field in root.fields.items():
            yield root.name, name, _door_of(root.name, name, field)


def require_doors(schema: GraphQLSchema) -> None:
    """Raises UndeclaredDoor where somebody could ask for something of which nobody has said what it costs and tells."""
    for _ in doors_of(schema):
        pass


def _door_of(root: str, name: str, field: GraphQLField) -> Door:
    if root == "Mutation" and name in _OF_COMMANDS:
        return _OF_COMMANDS[name]
    definition: StrawberryField = field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
    inputs = [each.python_name for each in definition.arguments]
    return require_declared(f"{root}.{name}", definition.metadata.get(DOOR), inputs)
