"""Documents that clients name by their SHA-256 instead of sending them, in Apollo's wire format.

Only what was registered when the process started can be named: what a client sends is never remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, parse, validate

from api.graphql.cost import cost_of
from api.graphql.limits import bad_request, checked_request
from api.graphql.shape import TOKENS_MAX, refusal_of

DOCUMENTS_MAX: Final = 10_000
DOCUMENT: Final = "{ __typename }"  # stands for what is not served


class PersistedDocuments:
    """The registered documents by digest; with `only`, no other is served."""

    def __init__(self, by_digest: Mapping[str, str], *, only: bool) -> None:
        self._by_digest = by_digest
        self._only = only

    def text_of(self, document: str | None, extensions: Mapping[str, Any] | None) -> str | None:
        """The document that a request means. Raises GraphQLError, with PERSISTED_QUERY_NOT_FOUND for a name that nobody
        registered and PERSISTED_QUERY_ONLY for a document that is not."""
        named = (extensions or {}).get("persistedQuery")
        if named is None:
            if self._only and (document is None or digest_of(document) not in self._by_digest):
                raise GraphQLError(
                    "Only registered documents are served here: send extensions.persistedQuery.sha256Hash of one.",
                    extensions={"code": "PERSISTED_QUERY_ONLY"},
                )
            return document
        digest = named.get("sha256Hash") if isinstance(named, dict) and named.get("version", 1) == 1 else None
        if not isinstance(digest, str):
            raise bad_request('extensions.persistedQuery is not {"version": 1, "sha256Hash": "..."}.')
        if document is not None and digest_of(document) != digest:
            raise bad_request("extensions.persistedQuery.sha256Hash is not the SHA-256 of the document beside it.")
        if digest in self._by_digest:
            return self._by_digest[digest]
        if document is None or self._only:
            # The message is what Apollo's clients look for.
            raise GraphQLError("PersistedQueryNotFound", extensions={"code": "PERSISTED_QUERY_NOT_FOUND"})
        return document


def digest_of(document: str) -> str:
    """As clients make it: of the text as it is sent, in hexadecimal."""
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()


def registered(place: str | None, schema: GraphQLSchema, *, only: bool, cost_max: int) -> PersistedDocuments:
    """The documents of a folder (`*.graphql`, one each) or of a JSON file (digest: document); none without a place.

    Raises ValueError for one that could never be served, and OSError."""
    if place is None:
        if only:
            raise ValueError(
                "KONTOR_PERSISTED_ONLY needs KONTOR_PERSISTED_DOCUMENTS, a folder of the documents to serve."
            )
        return PersistedDocuments({}, only=False)
    path = Path(place)
    if path.is_dir():
        texts = {str(file): file.read_text(encoding="utf-8") for file in sorted(path.glob("*.graphql"))}
    else:
        texts = json.loads(path.read_text(encoding="utf-8"))
    if not texts or len(texts) > DOCUMENTS_MAX:
        raise ValueError(f"{place} has {len(texts)} documents; 1 to {DOCUMENTS_MAX} can be registered.")
    by_digest = {}
    for name, text in texts.items():
        _check(f"{place}: {name}", text, schema, cost_max)
        digest = digest_of(text)
        if path.is_file() and name != digest:
            raise ValueError(f"{place}: {name} is not the SHA-256 of its document, {digest}.")
        by_digest[digest] = text
    return PersistedDocuments(by_digest, only=only)


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
