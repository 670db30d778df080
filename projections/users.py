"""Customers, staff and the rest: one row per user. Name and address stay sealed until they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.users import Role, User
from projections.view import Recorded, View


class UserRow(Struct, frozen=True, kw_only=True):
    id: UUID
    email_sealed: str
    name_sealed: str
    roles: tuple[Role, ...]
    created_at: datetime
    mfa_enabled: bool = False
    version: int = 0
    position: int = 0


def evolve(row: UserRow | None, recorded: Recorded) -> UserRow:  # noqa: PLR0911  # one line per event
    match recorded.event:
        case User.Created() as registered:
            return UserRow(
                id=recorded.aggregate_id,
                email_sealed=registered.email,
                name_sealed=registered.name,
                roles=registered.roles,
                created_at=recorded.recorded_at,
            )
    assert row is not None, recorded
    match recorded.event:
        case User.ProfileUpdated(email=email, name=name):
            return replace(row, email_sealed=email or row.email_sealed, name_sealed=name or row.name_sealed)
        case User.EmailChanged(email=str() as email) | User.EmailChangeUndone(email=str() as email):
            return replace(row, email_sealed=email)
        case User.RoleGranted(role=role):
            return replace(row, roles=(*row.roles, role))
        case User.RoleRevoked(role=role):
            return replace(row, roles=tuple(each for each in row.roles if each is not role))
        case User.MfaEnabled():
            return replace(row, mfa_enabled=True)
        case User.MfaDisabled():
            return replace(row, mfa_enabled=False)
        case User.Erased():
            return replace(row, email_sealed="", name_sealed="", roles=(), mfa_enabled=False)
        case _:
            return row


USERS: Final = View(name="users", version=1, row=UserRow, follows=frozenset({User.TOPIC}), evolve=evolve)
