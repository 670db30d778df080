"""Documents, parsed, judged, validated and priced once per text: each costs more than most answers.

What is kept is bounded in number and in characters, the least recently used goes first. A text that is no GraphQL is
not kept, and one above a quarter of the characters is not either.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import Any, Final

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    parse,
    specified_rules,
    visit,
)
from strawberry.schema.schema import validate_document

from api.graphql.cost import OperationCost, cost_of
from api.graphql.shape import refusal_of

DOCUMENTS_MAX: Final = 512
CHARACTERS_MAX: Final = 400_000
_CONDITIONS: Final = frozenset({"skip", "include"})


class Document:
    """One text. `plans` is the compiled path's, see `api.graphql.compiled.compiling`."""

    def __init__(self, schema: GraphQLSchema, tree: DocumentNode) -> None:
        self.tree = tree
        self.plans: dict[Any, Any] = {}
        self._schema = schema
        self._refusals: dict[bool, str | None] = {}
        self._costs: dict[str | None, OperationCost] = {}

    def refusal(self, *, introspection: bool) -> str | None:
        """Why it is not looked at any further, see `api.graphql.shape`; None when it is."""
        if introspection not in self._refusals:
            self._refusals[introspection] = refusal_of(self.tree, introspection=introspection)
        return self._refusals[introspection]

    def cost(self, operation_name: str | None) -> OperationCost:
        """The cost of the operation of this name. To be asked of a document without errors alone; raises LookupError
        for a name that it does not have."""
        if operation_name not in self._costs:
            self._costs[operation_name] = cost_of(self._schema, self.tree, operation_name)
        return self._costs[operation_name]

    @cached_property
    def errors(self) -> list[GraphQLError]:
        """Why it does not fit the schema; empty when it does. To be asked of a document of a reasonable shape alone,
        see `api.graphql.shape`: validating others takes long."""
        return validate_document(self._schema, self.tree, specified_rules)

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """The variables that decide what is skipped and included."""
        found = _Conditions()
        visit(self.tree, found)
        return tuple(sorted(found.names))

    def roots(self, operation_name: str | None) -> list[str]:
        """The operation's root fields, as the schema names them. To be asked of a document without errors alone."""
        operation = self.operation(operation_name)
        found: set[str] = set()
        if operation is not None:
            self._note_roots(operation.selection_set, found, set())
        return sorted(found)

    def _note_roots(self, selections: SelectionSetNode, found: set[str], spread: set[str]) -> None:
        for each in selections.selections:
            match each:
                case FieldNode():
                    found.add(each.name.value)
                case InlineFragmentNode():
                    self._note_roots(each.selection_set, found, spread)
                case FragmentSpreadNode() if each.name.value not in spread:
                    spread.add(each.name.value)
                    for definition in self.tree.definitions:
                        if isinstance(definition, FragmentDefinitionNode) and definition.name.value == each.name.value:
                            self._note_roots(definition.selection_set, found, spread)

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation of this name, the first one without; None for a name that the document does not have."""
        for definition in self.tree.definitions:
            if isinstance(definition, OperationDefinitionNode) and (
                name is None or (definition.name is not None and definition.name.value == name)
            ):
                return definition
        return None


class Documents:
    """The documents that were seen lately, of one schema."""

    def __init__(self, schema: GraphQLSchema, *, tokens_max: int) -> None:
        self._schema = schema
        self._tokens_max = tokens_max
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._characters = 0

    def of(self, text: str) -> Document:
        """The document. Raises GraphQLError for a text that is none, or has more than `tokens_max` tokens."""
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
            return found
        made = Document(self._schema, parse(text, max_tokens=self._tokens_max))
        if len(text) <= CHARACTERS_MAX // 4:
            self._kept[text] = made
            self._characters += len(text)
        while len(self._kept) > DOCUMENTS_MAX or self._characters > CHARACTERS_MAX:
            self._characters -= len(self._kept.popitem(last=False)[0])
        return made

    def __len__(self) -> int:
        return len(self._kept)


class _Conditions(Visitor):
    """Collects the variables of @skip and @include."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        """`if` is the only argument there is."""
        if node.name.value in _CONDITIONS:
            values = [argument.value for argument in node.arguments or ()]
            self.names |= {value.name.value for value in values if isinstance(value, VariableNode)}
