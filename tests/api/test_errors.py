"""What clients are told of an error."""

from __future__ import annotations

import pytest
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, parse
from strawberry.schema.exceptions import CannotGetOperationTypeError
from structlog.testing import capture_logs

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


def test_an_unexpected_error_is_logged_by_its_field_and_not_by_the_clients_alias() -> None:
    (operation,) = parse("{ chosenByTheClient: orders }").definitions
    assert isinstance(operation, OperationDefinitionNode)
    (node,) = operation.selection_set.selections
    assert isinstance(node, FieldNode)
    failed = GraphQLError("x", [node], path=["chosenByTheClient"], original_error=KeyError("x"))
    with capture_logs() as told:
        formatted([failed], suggestions=True)
    (line,) = told
    assert (line["event"], line["field"]) == ("internal_error", "orders")
    assert "chosenByTheClient" not in str({name: value for name, value in line.items() if name != "exc_info"})


def test_a_name_of_an_operation_that_the_document_lacks_is_the_clients_to_correct() -> None:
    cause = CannotGetOperationTypeError("chosenByTheClient")
    with capture_logs() as told:
        (error,) = formatted([GraphQLError("Unknown operation", original_error=cause)], suggestions=True)
    assert (error["message"], error["extensions"]["code"]) == ("Unknown operation", "BAD_REQUEST")
    assert told == []
