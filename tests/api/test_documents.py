"""Documents are parsed and validated once per text, within bounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from graphql import GraphQLError

from api.graphql import documents
from api.graphql.consistency import Freshness
from api.graphql.documents import CHARACTERS_MAX, Documents
from api.graphql.gate import OPEN
from api.graphql.schema import schema
from api.graphql.shape import TOKENS_MAX


@pytest.fixture
def kept() -> Documents:
    return Documents(schema._schema, tokens_max=TOKENS_MAX)


def test_a_text_is_parsed_and_validated_once(kept: Documents) -> None:
    first = kept.of("{ __typename }")
    assert kept.of("{ __typename }") is first
    assert first.errors == []


def test_a_document_is_judged_and_priced_once(kept: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "query A { views { name } } query B { views { name } products { nodes { sku } } }"
    costs = {name: kept.of(asked).cost(name) for name in ("A", "B")}
    assert kept.of(asked).refusal(introspection=False) is None
    assert costs["A"].of(None) < costs["B"].of(None)
    monkeypatch.setattr("api.graphql.documents.cost_of", None)
    monkeypatch.setattr("api.graphql.documents.refusal_of", None)
    assert {name: kept.of(asked).cost(name) for name in ("A", "B")} == costs
    assert kept.of(asked).refusal(introspection=False) is None


def test_whether_it_may_introspect_is_asked_each_time(kept: Documents) -> None:
    asked = kept.of("{ __schema { types { name } } }")
    assert [asked.refusal(introspection=may) is None for may in (True, False, True)] == [True, False, True]


def test_why_a_document_does_not_fit_is_kept_too(kept: Documents) -> None:
    (error,) = kept.of("{ nothing }").errors
    assert kept.of("{ nothing }").errors == [error]


def test_a_text_that_is_none_is_refused_each_time_and_not_kept(kept: Documents) -> None:
    for _ in range(2):
        with pytest.raises(GraphQLError, match="Syntax Error"):
            kept.of("{")
    assert len(kept) == 0


def test_the_least_recently_used_goes_first(kept: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "DOCUMENTS_MAX", 2)
    first, second = kept.of("{ a: __typename }"), kept.of("{ b: __typename }")
    assert kept.of("{ a: __typename }") is first
    kept.of("{ c: __typename }")
    assert len(kept) == 2
    assert kept.of("{ a: __typename }") is first
    assert kept.of("{ b: __typename }") is not second


def test_what_is_kept_is_bounded_in_characters(kept: Documents) -> None:
    long = " " * (CHARACTERS_MAX // 4 - 20)
    for name in "abcdefgh":
        kept.of(f"{{ {name}: __typename }}{long}")
    assert len(kept) == 4
    kept.of(f"{{ i: __typename }}{long}{' ' * 30}")
    assert len(kept) == 4


def test_the_variables_of_conditions_are_known(kept: Documents) -> None:
    text = "query($b: Boolean!, $a: Boolean!, $n: ID!) { node(id: $n) @skip(if: $b) { id @include(if: $a) } }"
    assert kept.of(text).flags == ("a", "b")


async def test_a_document_with_too_many_tokens_is_refused_by_the_schema() -> None:
    nothing: Any = None  # is read
    freshness = Freshness(nothing, nothing)
    context = SimpleNamespace(refusal=None, over_socket=False, allowance=None, freshness=freshness, gate=OPEN)
    for _ in range(2):
        answer = await schema.execute("{" + " __typename" * TOKENS_MAX + "}", context_value=context)
        assert answer.errors is not None
        assert f"more than {TOKENS_MAX} tokens" in answer.errors[0].message
