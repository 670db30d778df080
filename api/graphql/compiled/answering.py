"""A request answered by a plan, in the words of the ordinary path; None for what that has to answer.

Reading changes nothing, so whatever goes wrong beyond one root that refuses is simply asked again there, from the
beginning: which errors are told, and in what order, depends on what was awaited when. Only time is not spent twice.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from graphql import GraphQLError, OperationType, located_error
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values
from strawberry.types import ExecutionResult
from strawberry.types.arguments import convert_arguments

from api.graphql.compiled.compiling import Plan, RootPlan, plan_of
from api.graphql.compiled.roots import ROOTS
from api.graphql.compiled.shapes import NotServed
from api.graphql.context import RequestContext
from api.graphql.limits import (
    Charge,
    CostLimitExceeded,
    TimeLimitExceeded,
    admit,
    checked_request,
    may_introspect,
    refuse_shape,
    time_limit,
)
from api.graphql.schema import KontorSchema
from api.throttling import sought

log = structlog.get_logger()

ERRORS_MAX: Final = 50  # graphql-core's; past the first one the ordinary path answers anyway
_NO_VARIABLES: Final = VariableValues({}, {})


class RootRefused(Exception):
    """A root raised; the cause is what."""

    def __init__(self, root: RootPlan) -> None:
        super().__init__(root.key)
        self.root = root


async def answer(
    schema: KontorSchema,
    context: RequestContext,
    query: str | None,
    variables: dict[str, Any] | None,
    operation_name: str | None,
    extensions: dict[str, Any] | None = None,
) -> ExecutionResult | None:
    """The answer; None when the document is not one for this path, or could not be answered here. What was charged for
    it then is in the context, so that it is charged once."""
    prepared = prepare(schema, context, query, variables, operation_name, extensions)
    if prepared is None:
        return None
    plan, values = prepared
    try:
        context.charge = await admit(context, plan.document, operation_name, variables)
    except CostLimitExceeded as refused:
        context.charge = refused
        return None
    except GraphQLError:
        return None
    tried = context.tried()
    answered: ExecutionResult | None = None
    try:
        async with time_limit(context.allowance):
            data = await _data(schema, tried, plan, values)
        if not tried.freshness.is_shaken:
            answered = ExecutionResult(data=data, errors=None, extensions=_extensions(tried))
        if not tried.freshness.token.heads:  # a token is used once
            context.may_be_kept = tried.made_of
    except RootRefused as refused:
        answered = _refusal(plan, refused, tried)
    except TimeLimitExceeded as error:
        answered = ExecutionResult(data=None, errors=[error], extensions=_extensions(tried))
    except (NotServed, GraphQLError) as error:
        log.debug("compiled_answer_left", error=type(error).__name__)
    except Exception as error:  # outermost: the ordinary path tells it, and logs what nobody expected
        log.info("compiled_answer_failed", error=type(error).__name__)
    if answered is None:
        context.freshness.resume(tried.freshness)
    return answered


def prepare(
    schema: KontorSchema,
    context: RequestContext,
    query: str | None,
    variables: dict[str, Any] | None,
    operation_name: str | None,
    extensions: dict[str, Any] | None = None,
) -> tuple[Plan, VariableValues] | None:
    """The plan of the operation and its variables; None for what the ordinary path answers, or refuses."""
    if context.refusal is not None:
        return None
    try:
        text = context.gate.document(query, extensions)
        if not text:
            return None
        checked_request(text, variables)
        document = schema.documents.of(text)
        refuse_shape(document, introspection=may_introspect(context))
    except (GraphQLError, RecursionError):
        return None
    operation = None if document.errors else document.operation(operation_name)
    if operation is None or operation.operation is not OperationType.QUERY:
        return None
    core = schema._schema
    values: Any = _NO_VARIABLES
    if operation.variable_definitions:
        values = get_variable_values(core, operation.variable_definitions, variables or {}, ERRORS_MAX)
        if isinstance(values, list):
            return None
    plan = plan_of(document, operation, values, core)
    return None if plan is None else (plan, values)


async def _data(schema: KontorSchema, context: RequestContext, plan: Plan, values: VariableValues) -> Any:
    asked = [(root, _arguments(schema, root, values)) if root.field is not None else (root, {}) for root in plan.roots]
    if len(asked) == 1:
        answers = [await _answered(context, *asked[0])]
    else:
        answers = await asyncio.gather(*(_answered(context, root, arguments) for root, arguments in asked))
    return plan.whole.now([answers])[0]


def _arguments(schema: KontorSchema, root: RootPlan, values: VariableValues) -> dict[str, Any]:
    """As the resolver is given them. Raises GraphQLError."""
    assert root.field is not None
    coerced = get_argument_values(root.field, root.nodes[0], values)
    return convert_arguments(coerced, root.arguments, schema.schema_converter.scalar_registry, schema.config)


async def _answered(context: RequestContext, root: RootPlan, arguments: dict[str, Any]) -> Any:
    if root.shape is None:
        return "Query"
    try:
        with context.kontor.ports.security.watched(root.name, context.actor):
            root.who(context.actor)
            source = await _found(context, root, arguments)
    except NotServed:
        raise
    except Exception as error:
        raise RootRefused(root) from error
    if source is None:
        return None
    made = await root.shape.later(context, [source]) if root.shape.waits else root.shape.now([source])
    return made[0]


async def _found(context: RequestContext, root: RootPlan, arguments: dict[str, Any]) -> Any:
    """The rows, counted as the resolver counts them."""
    rows = ROOTS[root.name].rows
    if not root.door.is_counted:
        return await rows(context, **arguments)
    return await sought(
        context.kontor,
        root.door,
        arguments,
        actor=context.actor,
        address=context.address,
        look=lambda: rows(context, **arguments),
    )


def _refusal(plan: Plan, refused: RootRefused, context: RequestContext) -> ExecutionResult | None:
    """One root alone is told here; of several, the ordinary path knows which errors are told, and in what order."""
    cause = refused.__cause__
    root = refused.root
    if sum(each.shape is not None for each in plan.roots) != 1 or not isinstance(cause, Exception):
        return None
    error = located_error(cause, list(root.nodes), [root.key])
    data = None
    if root.nullable:
        data = {each.key: None if each is root else "Query" for each in plan.roots}
    return ExecutionResult(data=data, errors=[error], extensions=_extensions(context))


def _extensions(context: RequestContext) -> dict[str, Any]:
    report = context.freshness.report()
    told: dict[str, Any] = {"consistency": report} if report else {}
    return told | {"cost": context.charge.report()} if isinstance(context.charge, Charge) else told
