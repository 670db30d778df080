"""The one gate of GraphQL: which documents are taken, and how errors are told, whatever transport they come by.

Strawberry's operations pass it in `api.graphql.schema`, compiled ones in `api.graphql.compiled.answering`; what comes
by WebSocket and only names a document is looked up in it first. Costs, shapes and times are `api.graphql.limits`, which
the same places ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import GraphQLError

from api.graphql.errors import formatted


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`documents` are the registered ones by digest; with `only`, no other is served. `suggestions`: may errors tell
    what the schema has instead?"""

    documents: Mapping[str, str]
    only: bool
    suggestions: bool

    def document(self, text: str | None, extensions: Mapping[str, Any] | None) -> str | None:
        """The document that a request means. Raises GraphQLError, with PERSISTED_QUERY_NOT_FOUND for a name that nobody
        registered and PERSISTED_QUERY_ONLY for a document that is not."""
        named = (extensions or {}).get("persistedQuery")
        if named is None:
            if self.only and (text is None or digest_of(text) not in self.documents):
                raise GraphQLError(
                    "Only registered documents are served here: send extensions.persistedQuery.sha256Hash of one.",
                    extensions={"code": "PERSISTED_QUERY_ONLY"},
                )
            return text
        digest = named.get("sha256Hash") if isinstance(named, dict) and named.get("version", 1) == 1 else None
        if not isinstance(digest, str):
            raise _bad_request('extensions.persistedQuery is not {"version": 1, "sha256Hash": "..."}.')
        if text is not None and digest_of(text) != digest:
            raise _bad_request("extensions.persistedQuery.sha256Hash is not the SHA-256 of the document beside it.")
        if digest in self.documents:
            return self.documents[digest]
        if text is None or self.only:
            # The message is what Apollo's clients look for.
            raise GraphQLError("PersistedQueryNotFound", extensions={"code": "PERSISTED_QUERY_NOT_FOUND"})
        return text

    def told(self, errors: Sequence[GraphQLError]) -> list[Any]:
        """The errors as a client may know them; see `api.graphql.errors`."""
        return formatted(errors, suggestions=self.suggestions)


def digest_of(document: str) -> str:
    """As clients make it: of the text as it is sent, in hexadecimal."""
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()


def _bad_request(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


# Without settings: every document, and everything is told; for what is asked inside the process.
OPEN: Final = Gate(documents={}, only=False, suggestions=True)
