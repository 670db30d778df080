"""The schema: roots composed of one part per aggregate, limits, and what surrounds every operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext
from strawberry.types.graphql import OperationType

from api.graphql.account_recovery import AccountRecoveryMutation
from api.graphql.administration import AdministrationMutation
from api.graphql.catalogue import CatalogueMutation, CatalogueQuery, product_by_id
from api.graphql.categories import CategoriesMutation, CategoriesQuery, category_by_id
from api.graphql.context import Info, RequestContext, parsed_id
from api.graphql.credentials import CredentialsMutation
from api.graphql.descriptions import describe
from api.graphql.documents import Documents
from api.graphql.doors import require_doors
from api.graphql.events import EventsQuery
from api.graphql.inventory import InventoryMutation, InventoryQuery, StockItem
from api.graphql.limits import Limits
from api.graphql.node import Node
from api.graphql.orders import OrdersMutation, OrdersQuery, order_by_id
from api.graphql.resolvers import resolver
from api.graphql.sales import SalesQuery
from api.graphql.scalars import SCALARS, ConsistencyToken
from api.graphql.sessions import SessionsMutation, SessionsQuery
from api.graphql.shape import TOKENS_MAX
from api.graphql.sockets import OverSocket, told
from api.graphql.subscriptions import Subscription
from api.graphql.users import UsersMutation, UsersQuery, user_by_id
from api.graphql.views import ViewsQuery
from api.graphql.visibility import seen_stock
from api.graphql.webhooks import WebhooksMutation, WebhooksQuery, webhook_endpoint_by_id
from commands.doors import PLAIN
from commands.handling import anyone


@strawberry.type(description="What can be read.")
class Query(
    UsersQuery,
    SessionsQuery,
    CatalogueQuery,
    CategoriesQuery,
    InventoryQuery,
    OrdersQuery,
    SalesQuery,
    EventsQuery,
    ViewsQuery,
    WebhooksQuery,
):
    @resolver("Whatever has this id and is the reader's to see.", who=anyone, door=PLAIN)
    async def node(self, info: Info, id: strawberry.ID, consistent_with: ConsistencyToken | None = None) -> Node | None:
        """An order, product, category, stock item, user or webhook endpoint; null for every other id."""
        context = info.context
        context.freshness.require(consistent_with)
        node_id = parsed_id(id)
        if node_id is None:
            return None
        for find in (order_by_id, product_by_id, category_by_id, _stock_item_by_id, user_by_id, webhook_endpoint_by_id):
            if found := await find(context, node_id):
                return found
        return None


@strawberry.type(description="What can be done.")
class Mutation(
    SessionsMutation,
    UsersMutation,
    CredentialsMutation,
    AdministrationMutation,
    AccountRecoveryMutation,
    CatalogueMutation,
    CategoriesMutation,
    InventoryMutation,
    OrdersMutation,
    WebhooksMutation,
):
    pass


async def _stock_item_by_id(context: RequestContext, item_id: Any) -> StockItem | None:
    row = await seen_stock(context, await context.stock.load(item_id))
    return StockItem.of(row) if row else None


class AtTheGate(SchemaExtension):
    """Lets in what the gate lets in, and nothing that the request's headers make impossible to serve; reports how fresh
    the answer is."""

    def on_operation(self) -> Iterator[None]:
        """Raises the context's refusal and the gate's before anything is parsed, and a query's when all of it was
        read."""
        execution = self.execution_context
        context: RequestContext = execution.context
        if context.refusal is not None:
            raise context.refusal
        execution.query = context.gate.document(execution.query, execution.operation_extensions)
        yield
        refused = context.freshness.refused()
        if refused is not None and self.execution_context.operation_type is OperationType.QUERY:
            raise refused

    def get_results(self) -> dict[str, Any]:
        """`extensions.consistency`, when a token was passed."""
        report = self.execution_context.context.freshness.report()
        return {"consistency": report} if report else {}


class KontorSchema(strawberry.Schema):
    """The schema; it does not log errors, which `api.graphql.errors` does once, with an id.

    Documents are parsed and validated before an operation begins, once per text: see `api.graphql.documents`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for slot in _optional_slots(self._schema):
            # The Python default None means "left out"; the contract knows no default null.
            if slot.default_value is None:
                slot.default_value = Undefined
        describe(self._schema)
        self.documents = Documents(self._schema, tokens_max=TOKENS_MAX)

    def _create_execution_context(self, query: str | None, *args: Any, **kwargs: Any) -> ExecutionContext:
        made = super()._create_execution_context(query, *args, **kwargs)
        made.parse_options = {"max_tokens": TOKENS_MAX}
        return made

    async def stream(self, *args: Any, **more: Any) -> Any:
        """See `api.graphql.sockets.told`."""
        return told(await super().stream(*args, **more), more["context_value"])

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing here."""


def _optional_slots(core: GraphQLSchema) -> Iterator[GraphQLArgument | GraphQLInputField]:
    """Every argument and every field of an input."""
    for kind in core.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            yield from kind.fields.values()
        elif isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for field in kind.fields.values():
                yield from field.args.values()


schema: Final = KontorSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=False),
    extensions=[AtTheGate, OverSocket, Limits],
)
require_doors(schema._schema)
