"""What an operation may cost, counted from its document."""

from __future__ import annotations

import time
from typing import Any

import pytest
from graphql import (
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
    parse,
    print_ast,
    validate,
)

from api.graphql.cost import FREE, LISTS, MUTATION, SURCHARGES, cost_of
from api.graphql.limits import TEXT_CHARS_MAX, VALUES_MAX, VARIABLES_MAX, checked_request
from api.graphql.schema import schema
from api.graphql.shape import (
    ALIASES_MAX,
    BRACKETS_MAX,
    DEPTH_MAX,
    DIRECTIVES_MAX,
    DOCUMENT_CHARS_MAX,
    FIELDS_MAX,
    FRAGMENTS_MAX,
    NESTING_MAX,
    OPERATIONS_MAX,
    OVERLAPS_MAX,
    nested_too_deep,
    refusal_of,
)

CORE = schema._schema
PAGE = "query($n: Int = 7, $out: Boolean = false) { orders(first: $n) @skip(if: $out) { nodes { id } } }"


def cost(document: str, name: str | None = None, **variables: Any) -> int:
    parsed = parse(document)
    assert validate(CORE, parsed) == []
    return cost_of(CORE, parsed, name).of(variables)


@pytest.mark.parametrize(
    ("document", "points"),
    [
        ("{ __typename }", 1),
        ("{ me { id name } }", 1),
        ("{ me { id } other: me { id } }", 2),
        ('{ product(sku: "a") { price { amount } stock { available } categories { name } } }', 1 + 1 + 2),
        ("{ products { nodes { id } } }", 1 + 20),
        ("{ products { edges { cursor node { id } } pageInfo { endCursor } } }", 1 + 20),
        ("{ products(first: 3) { nodes { price { amount } stock { onHand } } totalCount } }", 1 + 3 * 2 + 5),
        ("{ products(first: 3) { facets { values { count } } } }", 1 + 20 + 3 * (1 + 20)),
        ("{ orders(first: 10) { nodes { lines { sku product { id } } customer { id } } } }", 1 + 10 * (1 + 5 * 2 + 1)),
        ("{ orders(first: 10) { nodes { history { type } } } }", 1 + 10 * (1 + 100)),
        ("{ me { orders(first: 5) { nodes { history(first: 2) { type } } } } }", 1 + 1 + 5 * (1 + 2)),
        ("mutation { signOut { ok } again: signOut { ok userErrors { code } } }", 2 * (MUTATION + 1)),
        ("{ orders(first: 20) { nodes { id lines { sku product { name } } customer { name } } totalCount } }", 246),
        ("{ categories { name parent { name } } }", 50 * 2),
    ],
)
def test_points_are_about_the_objects_that_are_asked_for(document: str, points: int) -> None:
    assert cost(document) == points


def test_the_size_of_a_page_may_come_from_a_variable_or_its_default() -> None:
    assert cost(PAGE) == 1 + 7
    assert cost(PAGE, n=50) == 1 + 50
    assert cost(PAGE, n=50.0) == 1 + 50  # passes for an Int
    assert cost(PAGE, n=None) == 1 + 20
    assert cost(PAGE, n=-5) == 1
    assert cost(PAGE, n=10**30) == 1 + 10**30


def test_what_is_left_out_for_these_variables_is_not_counted() -> None:
    assert cost(PAGE, out=True) == 1
    assert cost(PAGE, out=False) == 8
    assert cost("{ me @include(if: false) { id } orders @skip(if: true) { nodes { id } } }") == 1


def test_only_the_operation_that_is_executed_is_counted() -> None:
    two = "query small { me { id } } query large { orders(first: 100) { nodes { id } } }"
    assert (cost(two, "small"), cost(two, "large")) == (1, 101)


def test_aliases_that_fragments_multiply_are_counted_after_they_are_spread() -> None:
    spread = "{ ...a b: me { ...u } } fragment a on Query { c: me { ...u } d: me { ...u } } "
    users = "fragment u on User { e: orders(first: 9) { ...o } f: orders(first: 9) { ...o } } "
    rows = "fragment o on OrderConnection { nodes { id } }"
    assert cost(spread + users + rows) == 3 * (1 + 2 * (1 + 9))


def test_a_fragment_counts_the_rows_of_each_page_that_it_is_spread_in() -> None:
    rows = "fragment o on OrderConnection { nodes { id } edges { node { id } } }"
    assert cost("{ a: orders(first: 2) { ...o } b: orders(first: 30) { ...o } } " + rows) == 1 + 2 * 2 + 1 + 30 * 2


def test_counting_takes_no_longer_when_fragments_multiply_each_other() -> None:
    doubled = " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ... on Query {{ ...f{n + 1} }} }}" for n in range(60))
    document = parse(f"{{ ...f0 }} {doubled} fragment f60 on Query {{ me {{ id }} }}")
    began = time.process_time()
    assert cost_of(CORE, document, None).of({}) == 2**60
    assert time.process_time() - began < 1


def test_every_list_has_a_size_or_a_weight() -> None:
    """A new list is given one: see `api.graphql.cost.LISTS`."""
    unweighted, paged = set(), set()
    for kind in CORE.type_map.values():
        if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) or kind.name.startswith("__"):
            continue
        for name, field in kind.fields.items():
            below = get_named_type(field.type)
            if below.name.endswith("Connection"):
                assert "first" in field.args, f"{kind.name}.{name}"
            is_list = is_list_type(get_nullable_type(field.type)) and is_composite_type(below)
            if is_list and "first" not in field.args and not kind.name.endswith("Connection"):
                unweighted.add(f"{kind.name}.{name}")
            elif is_list and kind.name.endswith("Connection") and name not in ("nodes", "edges"):
                paged.add(f"{kind.name}.{name}")
    known = {place for place in unweighted if get_named_type(field_of(place).type).name in FREE}
    assert sorted((unweighted | paged) - known - set(LISTS)) == []


def test_what_has_a_weight_is_in_the_schema() -> None:
    assert [place for place in [*LISTS, *SURCHARGES] if field_of(place) is None] == []
    assert [name for name in FREE if CORE.get_type(name) is None] == []


def field_of(place: str) -> Any:
    kind, _, name = place.partition(".")
    return getattr(CORE.get_type(kind), "fields", {}).get(name)


def refusal(document: str, *, introspection: bool = False) -> str | None:
    return refusal_of(parse(document), introspection=introspection)


def levels(depth: int) -> str:
    return "{ " * 1 + "parent { " * (depth - 1) + "id" + " }" * depth


def fragments(count: int) -> str:
    return "{ me { ...f0 } } " + " ".join(f"fragment f{n} on User {{ x{n} }}" for n in range(count))


def directives(count: int) -> str:
    return "{ me { id " + "@include(if: true) " * count + "} }"


AT_THE_BOUND = {
    "depth": (levels, DEPTH_MAX),
    "fields": (lambda n: "{ " + " ".join(f"f{i}" for i in range(n)) + " }", FIELDS_MAX),
    "aliases": (lambda n: "{ " + " ".join(f"a{i}: me" for i in range(n)) + " }", ALIASES_MAX),
    "directives": (directives, DIRECTIVES_MAX),
    "operations": (lambda n: " ".join(f"query q{i} {{ me }}" for i in range(n)), OPERATIONS_MAX),
    "fragments": (fragments, FRAGMENTS_MAX),
    "nesting": (lambda n: "{ " + "... { " * (n - 1) + "me" + " }" * n, NESTING_MAX),
}


@pytest.mark.parametrize("name", AT_THE_BOUND)
def test_a_document_may_reach_each_bound_and_not_pass_it(name: str) -> None:
    make, most = AT_THE_BOUND[name]
    assert refusal(make(most)) is None
    told = refusal(make(most + 1))
    assert told is not None
    assert str(most) in told


def test_fields_of_one_name_are_bounded_by_their_pairs() -> None:
    most = max(times for times in range(FIELDS_MAX) if times * (times - 1) // 2 <= OVERLAPS_MAX)
    assert refusal("{ " + "id " * most + "}") is None
    for document in ("{ " + "id " * (most + 1) + "}", "{ " + "... { id } " * (most + 1) + "}"):
        assert "same name" in (refusal(document) or "")


def test_fragments_count_where_they_are_spread() -> None:
    deep = "{ me { ...a } } fragment a on U { " + "p { " * DEPTH_MAX + "id" + " }" * DEPTH_MAX + " }"
    assert "levels" in (refusal(deep) or "")
    many = "{ ...a ... { ...a } x { ...a } } fragment a on Q { " + " ".join(f"a{n}: b" for n in range(11)) + " }"
    assert "aliases" in (refusal(many) or "")


def test_a_fragment_that_contains_itself_is_refused() -> None:
    assert "contains itself" in (refusal("{ ...a } fragment a on Q { ...b } fragment b on Q { ...a }") or "")


def test_introspection_is_seen_wherever_it_hides() -> None:
    for document in ("{ __schema { description } }", "{ ...a } fragment a on Q { x: __type(name: 1) { name } }"):
        assert "Introspection" in (refusal(document) or "")
        assert refusal(document, introspection=True) is None
    assert refusal("{ me { __typename } }") is None


def test_brackets_count_where_they_are_brackets() -> None:
    assert not nested_too_deep("{" * BRACKETS_MAX + "}" * BRACKETS_MAX)
    assert nested_too_deep("{" * (BRACKETS_MAX + 1))
    assert nested_too_deep("{ a(b: " + "[" * BRACKETS_MAX)
    inside = "[" * BRACKETS_MAX
    for text in (f'"{inside}"', f'"\\"{inside}"', f'"""{inside} \\""" {inside}"""', f"# {inside}\n"):
        assert not nested_too_deep("{ a(b: " + text + ") }"), text


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        ("#" * (DOCUMENT_CHARS_MAX + 1), {}),
        ("{ a }", {f"v{n}": 1 for n in range(VARIABLES_MAX + 1)}),
        ("{ a }", {"v": [1] * (VALUES_MAX + 1)}),
        ("{ a }", {"v": {"w": ["x" * (TEXT_CHARS_MAX + 1)]}}),
        ("{ a }", {"v": [[[[[[[[[[[1]]]]]]]]]]]}),
    ],
    ids=["long", "many variables", "many values", "long text", "deep"],
)
def test_what_is_sent_is_bounded(document: str, variables: dict[str, Any]) -> None:
    with pytest.raises(GraphQLError) as refused:
        checked_request(document, variables)
    assert refused.value.extensions == {"code": "BAD_REQUEST"}


def test_the_largest_order_with_agreed_prices_may_be_sent() -> None:
    line = {"sku": "A" * 64, "quantity": 1, "unitPrice": {"amount": "1.00", "currency": "GBP"}}
    checked_request("{ a }", {"input": {"lines": [line] * 2_000, "paymentMethod": "account"}, "key": "k"})


def test_the_shape_of_a_document_does_not_depend_on_how_it_is_written() -> None:
    text = "query q($n: Int = 3) { orders(first: $n) { nodes { id lines { sku } } } }"
    assert print_ast(parse(text)) != text
    assert cost(text) == cost(print_ast(parse(text))) == 1 + 3 * (1 + 5)
