"""Customers, staff and the rest: one row per user. Name and address stay sealed until they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.users import Role, User
from projections.view import Recorded, View


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    id: UUID
    email_sealed: str
    name_sealed: str
    roles: tuple[Role, ...]
    created_at: datetime
    version: int = 0
    position: int = 0


def evolve(row: UserRow | None, recorded: Recorded) -> UserRow:
    match recorded.event:
        case User.Created() as registered:
            return UserRow(
                id=recorded.aggregate_id,
                email_sealed=registered.email,
                name_sealed=registered.name,
                roles=registered.roles,
                created_at=recorded.recorded_at,
            )
        case _:
            assert row is not None, recorded
            return row


USERS: Final = View(name="users", version=1, row=UserRow, follows=frozenset({User.TOPIC}), evolve=evolve)
