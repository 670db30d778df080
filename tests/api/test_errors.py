"""What clients are told of an error."""

from __future__ import annotations

import pytest
from graphql import GraphQLError

from adapters.event_codec import WrittenByNewerCode
from adapters.group_commit import StoreUnavailable
from api.graphql.errors import formatted
from commands.ports import Overloaded
from domain.errors import Forbidden, Invalid, Unauthenticated


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (Unauthenticated("m"), "UNAUTHENTICATED"),
        (Forbidden("m"), "FORBIDDEN"),
        (Overloaded("m"), "UNAVAILABLE"),
        (StoreUnavailable("m"), "UNAVAILABLE"),
        (WrittenByNewerCode("m"), "UNAVAILABLE"),
        (Invalid("m"), "INVALID"),
    ],
)
def test_what_is_meant_for_clients_is_told_with_its_code(cause: Exception, code: str) -> None:
    (error,) = formatted([GraphQLError("x", original_error=cause)], suggestions=True)
    assert (error["message"], error["extensions"]["code"]) == ("m", code)


def test_an_unexpected_error_is_told_only_as_an_id() -> None:
    (error,) = formatted([GraphQLError("the secret", original_error=KeyError("the secret"))], suggestions=True)
    assert error["extensions"] == {"code": "INTERNAL"}
    assert error["message"].startswith("internal error, id ")
    assert "secret" not in str(error)


def test_a_document_that_does_not_fit_the_schema_keeps_its_message() -> None:
    (error,) = formatted([GraphQLError("outer", original_error=GraphQLError("inner"))], suggestions=True)
    assert (error["message"], error["extensions"]["code"]) == ("outer", "BAD_REQUEST")
