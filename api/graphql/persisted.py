"""Documents that clients name by their SHA-256 instead of sending them, in Apollo's wire format.

Only what was registered when the process started can be named: what a client sends is never remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, parse, validate

from adapters.strict_json import decoded_as
from api.graphql.cost import cost_of
from api.graphql.gate import digest_of
from api.graphql.limits import checked_request
from api.graphql.shape import TOKENS_MAX, refusal_of

DOCUMENTS_MAX: Final = 10_000
FILE_BYTES_MAX: Final = 64 * 1_048_576


def registered(place: str | None, schema: GraphQLSchema, *, only: bool, cost_max: int) -> Mapping[str, str]:
    """By digest, the documents of a folder (`*.graphql`, one each) or of a JSON file (digest: document); none without a
    place.

    Raises ValueError for one that could never be served, and OSError."""
    if place is None:
        if only:
            raise ValueError(
                "KONTOR_PERSISTED_ONLY needs KONTOR_PERSISTED_DOCUMENTS, a folder of the documents to serve."
            )
        return {}
    path = Path(place)
    if path.is_dir():
        texts = {str(file): file.read_text(encoding="utf-8") for file in sorted(path.glob("*.graphql"))}
    else:
        texts = decoded_as(dict[str, str], path.read_bytes(), bytes_max=FILE_BYTES_MAX)
    if not texts or len(texts) > DOCUMENTS_MAX:
        raise ValueError(f"{place} has {len(texts)} documents; 1 to {DOCUMENTS_MAX} can be registered.")
    by_digest = {}
    for name, text in texts.items():
        _check(f"{place}: {name}", text, schema, cost_max)
        digest = digest_of(text)
        if path.is_file() and name != digest:
            raise ValueError(f"{place}: {name} is not the SHA-256 of its document, {digest}.")
        by_digest[digest] = text
    return by_digest


def _check(place: str, text: str, schema: GraphQLSchema, cost_max: int) -> None:
    try:
        checked_request(text, None)
        document = parse(text, max_tokens=TOKENS_MAX)
    except GraphQLError as error:
        raise ValueError(f"{place}: {error.message}") from None
    if refusal := refusal_of(document, introspection=False):
        raise ValueError(f"{place}: {refusal}")
    if errors := validate(schema, document):
        raise ValueError(f"{place}: {errors[0].message}")
    for each in document.definitions:
        if isinstance(each, OperationDefinitionNode):
            points = cost_of(schema, document, each.name.value if each.name else None).of(None)
            if points > cost_max:
                raise ValueError(f"{place}: it costs {points} points or more, and one operation may cost {cost_max}.")
