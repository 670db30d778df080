"""Which access tokens an event of an account makes void. Pure: `adapters.void_tokens` keeps the list of them.

A token names the version its account had when it was issued. An event makes older tokens void: those of the whole
account, whose version is below the event's, or those of the sessions that it ended. No clock takes part.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from uuid import UUID

from domain.users import User

# Another password ends sessions in the same transaction, and may keep one: SessionsRevoked says which.
_OF_THE_ACCOUNT: Final = (User.RoleRevoked, User.Suspended, User.Erased)
VOIDING_EVENTS: Final = (*_OF_THE_ACCOUNT, User.SessionsRevoked)
VOIDING_TYPES: Final = tuple(event.TOPIC for event in VOIDING_EVENTS)


class Voided(NamedTuple):
    """Tokens that are void: those of these sessions, or with None all of the user's below that version, but those of
    the session that was kept."""

    user_id: UUID
    version: int
    session_ids: frozenset[UUID] | None = None
    kept: UUID | None = None


def voided_by(event: Any) -> Voided | None:
    """What the event makes void; None for nothing."""
    if isinstance(event, _OF_THE_ACCOUNT):
        return Voided(event.originator_id, event.originator_version)
    if isinstance(event, User.SessionsRevoked):
        named = None if event.session_ids is None else frozenset(event.session_ids)
        return Voided(event.originator_id, event.originator_version, named, event.kept)
    return None
