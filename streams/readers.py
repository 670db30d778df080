"""What the owner of a webhook endpoint may read of the log, by the roles that the log gives the account now."""

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
OWNERS: Final = frozenset({Role.INTEGRATOR, Role.ADMIN})
LOSSES: Final = (User.Suspended.TOPIC, User.RoleRevoked.TOPIC, User.Erased.TOPIC, User.MfaDisabled.TOPIC)
NO_INTEGRATOR: Final = "its owner is no INTEGRATOR any more"
SUSPENDED: Final = "its owner is suspended"
ERASED: Final = "its owner was erased"


async def owner_roles(kontor: Kontor, endpoint: WebhookEndpoint) -> tuple[frozenset[Role], str | None]:
    """The roles, and why the endpoint is told nothing any more; None where it is. No roles at all for an account that
    is not there, was erased or is suspended."""
    owner = (await kontor.store.load([endpoint.owner_id])).get(endpoint.owner_id, (None,))[0]
    roles = _present_roles(kontor, owner)
    return roles, None if roles & OWNERS else _loss(owner)


async def orphaned(kontor: Kontor, owner_ids: Set[UUID], endpoint_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, str]]:
    """Those of the endpoints whose owner is one of these accounts and may own none any more: the owner, the reason."""
    if not owner_ids or not endpoint_ids:
        return {}
    loaded = [each for each, _ in (await kontor.store.load(endpoint_ids)).values()]
    theirs = [each for each in loaded if isinstance(each, WebhookEndpoint) and each.owner_id in owner_ids]
    reasons = {each.id: (each.owner_id, (await owner_roles(kontor, each))[1]) for each in theirs}
    return {endpoint_id: (owner_id, why) for endpoint_id, (owner_id, why) in reasons.items() if why is not None}


def _present_roles(kontor: Kontor, owner: object) -> frozenset[Role]:
    """As an access token has them: without a second factor nothing of what needs one."""
    if not isinstance(owner, User):
        return NO_ROLES
    return frozenset(present_roles(owner, factor_required=kontor.ports.factor_required))


def _loss(owner: object) -> str:
    if isinstance(owner, User) and owner.erased:
        return ERASED
    return SUSPENDED if isinstance(owner, User) and owner.suspended else NO_INTEGRATOR


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
    roles = {each.id: _present_roles(kontor, each) for each, _ in owners.values() if isinstance(each, User)}
    return {endpoint_id: roles.get(owner_id, NO_ROLES) for endpoint_id, owner_id in owner_of.items()}
