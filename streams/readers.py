"""What the owner of a webhook endpoint may read of the log, by the roles that the log gives him now."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final
from uuid import UUID

import msgspec

from adapters.deliveries_plan import Stretch
from adapters.log import LogRecord
from adapters.wiring import Kontor
from commands.rights import present_roles
from domain import FIELD_AUDIENCES, RESTRICTED_TYPES, may_read, readable_fields
from domain.users import Role, User
from domain.webhooks import WebhookEndpoint

NO_ROLES: Final[frozenset[Role]] = frozenset()


async def owner_roles(kontor: Kontor, endpoint: WebhookEndpoint) -> frozenset[Role]:
    """None at all for an account that is not there, was erased or is suspended."""
    owner = (await kontor.store.load([endpoint.owner_id])).get(endpoint.owner_id, (None,))[0]
    return frozenset(present_roles(owner)) if isinstance(owner, User) else NO_ROLES


async def readable(kontor: Kontor, planned: Sequence[tuple[Stretch, LogRecord]]) -> list[tuple[Stretch, LogRecord]]:
    """Those of the planned posts whose event the endpoint's owner may read.

    Owners are looked up only where there is an event that not every reader of the log may read."""
    asked = {stretch.endpoint_id for stretch, record in planned if record.event_type in RESTRICTED_TYPES}
    roles = await _roles_by_endpoint(kontor, sorted(asked)) if asked else {}
    return [
        (stretch, record)
        for stretch, record in planned
        if record.event_type not in RESTRICTED_TYPES
        or may_read(roles.get(stretch.endpoint_id, NO_ROLES), record.event_type)
    ]


def as_read_by(roles: Set[str], record: LogRecord) -> LogRecord:
    """The record with the fields that such an owner may read, as `domain.readable_fields` says."""
    if record.event_type not in FIELD_AUDIENCES:
        return record
    data: dict[str, object] = msgspec.json.decode(record.state)
    shown = readable_fields(roles, record.event_type, data)
    return record if shown is data else record._replace(state=msgspec.json.encode(shown))


async def _roles_by_endpoint(kontor: Kontor, endpoint_ids: Sequence[UUID]) -> dict[UUID, frozenset[Role]]:
    endpoints = [each for each, _ in (await kontor.store.load(endpoint_ids)).values()]
    owner_of = {each.id: each.owner_id for each in endpoints if isinstance(each, WebhookEndpoint)}
    owners = await kontor.store.load(sorted(set(owner_of.values())))
    roles = {each.id: frozenset(present_roles(each)) for each, _ in owners.values() if isinstance(each, User)}
    return {endpoint_id: roles.get(owner_id, NO_ROLES) for endpoint_id, owner_id in owner_of.items()}
