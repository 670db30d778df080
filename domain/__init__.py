"""What is true: the aggregates, one context a module, joined only by events and ids.

Importing this package registers every aggregate's and event's TOPIC with the event store library, so that
any process that imports it can read the whole log. CONTEXTS is the table of contents.
"""

from __future__ import annotations

from typing import Final

from eventsourcing.domain import Aggregate

from domain.catalogue import Category, Product, SlugClaim
from domain.inventory import StockItem
from domain.notifications import Notification
from domain.orders import Order
from domain.payments import Payment
from domain.users import EmailClaim, User
from domain.webhooks import WebhookEndpoint

# A context is a Kafka topic: its aggregates' events stand in order beside each other.
CONTEXTS: Final[dict[str, dict[str, type[Aggregate]]]] = {
    "users": {User.TOPIC: User, EmailClaim.TOPIC: EmailClaim},
    "catalogue": {Product.TOPIC: Product, Category.TOPIC: Category, SlugClaim.TOPIC: SlugClaim},
    "inventory": {StockItem.TOPIC: StockItem},
    "orders": {Order.TOPIC: Order},
    "payments": {Payment.TOPIC: Payment},
    "webhooks": {WebhookEndpoint.TOPIC: WebhookEndpoint},
    "notifications": {Notification.TOPIC: Notification},
}
CONTEXT_OF: Final[dict[str, str]] = {
    aggregate_type: context for context, aggregates in CONTEXTS.items() for aggregate_type in aggregates
}

# Every type of event there is.
EVENT_TYPES: Final[frozenset[str]] = frozenset(
    topic
    for aggregates in CONTEXTS.values()
    for aggregate_type, aggregate in aggregates.items()
    for each in vars(aggregate).values()
    # The library makes classes of its own for every aggregate, without a topic of theirs.
    if str(topic := getattr(each, "TOPIC", "")).startswith(f"{aggregate_type}.")
)


def aggregate_type_of(event_type: str) -> str:
    """`order` for `order.placed`: an event's TOPIC begins with its aggregate's."""
    return event_type.partition(".")[0]
