"""Bounds on the shape of a document, judged before it is validated: validation itself takes time that grows with the
square of what is selected, and what reads a document afterwards recurses into it.

Everything is counted as if fragments stood where they are spread, each read once however often it is spread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

DOCUMENT_CHARS_MAX: Final = 50_000
TOKENS_MAX: Final = 2_000
DEPTH_MAX: Final = 12
INTROSPECTION_DEPTH_MAX: Final = 20
BRACKETS_MAX: Final = 64  # the parser takes some frames of the stack for each
NESTING_MAX: Final = 40  # fields and fragments around each other
FIELDS_MAX: Final = 500
ALIASES_MAX: Final = 30
DIRECTIVES_MAX: Final = 50
OPERATIONS_MAX: Final = 10
FRAGMENTS_MAX: Final = 50
# Pairs of fields of one name in one place, each counted with all below it: 60 times `id` are 1,770.
OVERLAPS_MAX: Final = 2_000


_TEXTS: Final = re.compile(r'"""(?:\\"""|[^"]|"(?!""))*"""|"(?:\\.|[^"\\\n])*"|#[^\n\r]*')


def nested_too_deep(document: str) -> bool:
    """Are there more than BRACKETS_MAX brackets around each other? Looked at before anything is parsed."""
    if document.count("{") + document.count("[") + document.count("(") <= BRACKETS_MAX:
        return False
    depth = 0
    for bracket in re.findall(r"[{}\[\]()]", _TEXTS.sub("", document)):
        depth += 1 if bracket in "{[(" else -1
        if depth > BRACKETS_MAX:
            return True
    return False


class TooMuch(Exception):
    """The document asks for more than one document may; the message says of what, and how much is allowed."""


@dataclass(slots=True)
class Shape:
    """What there is in a selection, fragments included."""

    depth: int = 0
    nesting: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    overlaps: int = 0
    introspects: bool = False
    # What is selected here: how often by that name, and how many fields that are with all below.
    names: dict[str, tuple[int, int]] = field(default_factory=dict)

    def select(self, name: str, times: int, fields: int) -> None:
        """Validation compares everything of one name with each other, with all that is below."""
        before, there = self.names.get(name, (0, 0))
        self.overlaps += before * fields
        self.names[name] = (before + times, there + fields)

    def add(self, other: Shape) -> None:
        """What a fragment selects is selected here."""
        self.depth = max(self.depth, other.depth)
        for name, (times, fields) in other.names.items():
            self.select(name, times, fields)
        self.count(other)

    def count(self, other: Shape) -> None:
        """What is below a field, or in a fragment."""
        self.nesting = max(self.nesting, other.nesting)
        self.fields += other.fields
        self.aliases += other.aliases
        self.directives += other.directives
        self.overlaps += other.overlaps
        self.introspects = self.introspects or other.introspects

    def check(self) -> None:
        """Raises TooMuch as soon as there is: what multiplies is not multiplied any further."""
        for name, seen, most in (
            ("levels of fields", self.depth, INTROSPECTION_DEPTH_MAX if self.introspects else DEPTH_MAX),
            ("levels of fields and fragments", self.nesting, NESTING_MAX),
            ("fields", self.fields, FIELDS_MAX),
            ("aliases", self.aliases, ALIASES_MAX),
            ("directives", self.directives, DIRECTIVES_MAX),
            ("fields beside others of the same name", self.overlaps, OVERLAPS_MAX),
        ):
            if seen > most:
                raise TooMuch(
                    f"The document has {seen} {name} or more, fragments included; at most {most} are allowed."
                )


def refusal_of(document: DocumentNode, *, introspection: bool) -> str | None:
    """Why this document is not looked at any further; None for one of a reasonable shape. Linear in its size.

    `introspection`: may it ask about the schema?"""
    try:
        introspects = _introspects(document)
    except TooMuch as refused:
        return str(refused)
    if introspects and not introspection:
        return "Introspection is switched off here: `__schema` and `__type` cannot be asked for."
    return None


def _introspects(document: DocumentNode) -> bool:
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
    for name, seen, most in (("operations", operations, OPERATIONS_MAX), ("fragments", fragments, FRAGMENTS_MAX)):
        if len(seen) > most:
            raise TooMuch(f"The document has {len(seen)} {name}; at most {most} are allowed.")
    walk = _Walk({each.name.value: each for each in fragments})
    introspects = False
    definitions: list[OperationDefinitionNode | FragmentDefinitionNode] = [*operations, *fragments]
    for definition in definitions:
        variables = definition.variable_definitions or ()
        shape = walk.definition(definition)
        shape.directives += len(definition.directives or ())
        shape.directives += sum(len(each.directives or ()) for each in variables)
        shape.check()
        introspects = introspects or shape.introspects
    return introspects


class _Walk:
    """Adds up, each fragment once."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._known: dict[str, Shape | None] = {}  # None: being read

    def definition(self, definition: OperationDefinitionNode | FragmentDefinitionNode) -> Shape:
        """What an operation or fragment selects."""
        if isinstance(definition, OperationDefinitionNode):
            return self.selections(definition.selection_set, 1)
        return self.fragment(definition.name.value)

    def selections(self, selections: SelectionSetNode, level: int, *, introspects: bool = False) -> Shape:
        """`level` is how many selections are around this one where it is written."""
        if level > NESTING_MAX:
            raise TooMuch(f"The document is nested deeper than {NESTING_MAX} levels.")
        whole = Shape(introspects=introspects)
        for each in selections.selections:
            whole.directives += len(each.directives or ())
            if isinstance(each, FieldNode):
                self._field(whole, each, level)
            elif isinstance(each, FragmentSpreadNode):
                whole.add(self.fragment(each.name.value))
            elif isinstance(each, InlineFragmentNode):
                whole.add(self.selections(each.selection_set, level + 1))
            whole.check()
        whole.nesting += 1
        return whole

    def _field(self, whole: Shape, node: FieldNode, level: int) -> None:
        fields = 1
        if node.selection_set:
            introspects = node.name.value in ("__schema", "__type")
            below = self.selections(node.selection_set, level + 1, introspects=introspects)
            fields += below.fields
            whole.depth = max(whole.depth, below.depth + 1)
            whole.count(below)
        else:
            whole.depth = max(whole.depth, 1)
        whole.fields += 1
        whole.aliases += node.alias is not None
        whole.select(node.alias.value if node.alias else node.name.value, 1, fields)

    def fragment(self, name: str) -> Shape:
        """What a fragment selects."""
        if name not in self._fragments:
            return Shape()  # validation says so
        if name not in self._known:
            self._known[name] = None
            written = self._fragments[name]
            introspects = written.type_condition.name.value.startswith("__")
            self._known[name] = self.selections(written.selection_set, 1, introspects=introspects)
        shape = self._known[name]
        if shape is None:
            raise TooMuch(f"The fragment {name} contains itself.")
        return shape
