"""What is true: the aggregates, one context a module, joined only by events and ids.

Importing this package registers every aggregate's and event's TOPIC with the event store library, so that
any process that imports it can read the whole log. CONTEXTS is the table of contents.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

from eventsourcing.domain import Aggregate

from domain.audience import LOG_ROLES, READERS, Audience, declared_audiences
from domain.catalogue import Category, Product, SlugClaim
from domain.email_claims import EmailClaim
from domain.inventory import StockItem
from domain.notifications import Notification
from domain.orders import Order
from domain.payments import Payment
from domain.sessions import SignInAttempt
from domain.users import User
from domain.webhooks import WebhookEndpoint

# A context is a Kafka topic: its aggregates' events stand in order beside each other.
CONTEXTS: Final[dict[str, dict[str, type[Aggregate]]]] = {
    "users": {User.TOPIC: User, EmailClaim.TOPIC: EmailClaim, SignInAttempt.TOPIC: SignInAttempt},
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

# Every event class by its TOPIC.
_EVENTS: Final[dict[str, type]] = {
    topic: each
    for aggregates in CONTEXTS.values()
    for aggregate_type, aggregate in aggregates.items()
    for each in vars(aggregate).values()
    # The library makes classes of its own for every aggregate, without a topic of theirs.
    if (topic := str(getattr(each, "TOPIC", ""))).startswith(f"{aggregate_type}.")
}
# Every type of event there is.
EVENT_TYPES: Final[frozenset[str]] = frozenset(_EVENTS)
# Whom each of them is for: see `domain.audience`.
AUDIENCES: Final[dict[str, Audience]] = declared_audiences(_EVENTS)
# Fields that are for fewer than their event is.
FIELD_AUDIENCES: Final[dict[str, Mapping[str, Audience]]] = {
    event_type: event.FIELD_AUDIENCES for event_type, event in _EVENTS.items() if hasattr(event, "FIELD_AUDIENCES")
}
# What not every reader of the log may read.
RESTRICTED_TYPES: Final[frozenset[str]] = frozenset(
    event_type for event_type, audience in AUDIENCES.items() if READERS[audience] != LOG_ROLES
)


def may_read(roles: Set[str], event_type: str) -> bool:
    """May an actor with these roles read events of this type in the log? Every road asks this function."""
    return event_type in AUDIENCES and not READERS[AUDIENCES[event_type]].isdisjoint(roles)


def readable_fields(roles: Set[str], event_type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What such an actor may read of an event's data: a field with a narrower audience than its event is None."""
    narrower = FIELD_AUDIENCES.get(event_type, {})
    hidden = {name for name, audience in narrower.items() if READERS[audience].isdisjoint(roles)}
    return {name: None if name in hidden else value for name, value in data.items()} if hidden else data


def readable_types(roles: Set[str]) -> frozenset[str]:
    """All event types that an actor with these roles may read."""
    return frozenset(event_type for event_type in EVENT_TYPES if may_read(roles, event_type))


def aggregate_type_of(event_type: str) -> str:
    """`order` for `order.placed`: an event's TOPIC begins with its aggregate's."""
    return event_type.partition(".")[0]
