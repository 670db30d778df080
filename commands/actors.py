"""Who asks, and who may ask: the permissions that the table of commands and the root queries name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from domain.errors import Forbidden, Unauthenticated
from domain.users import Role


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `name` is what the log records: `user:<id>`, `system:<what>` or `anonymous`."""

    name: str
    roles: frozenset[Role] = frozenset()
    user_id: UUID | None = None
    # Where an anonymous caller asks from: it tells their idempotency keys apart, and nothing else.
    address: str = field(default="", compare=False)
    # The session of the access token: the one that stays where a command ends the others.
    session_id: UUID | None = field(default=None, compare=False)

    @classmethod
    def user(cls, user_id: UUID, roles: Iterable[Role], *, session_id: UUID | None = None) -> Actor:
        return cls(f"user:{user_id}", frozenset(roles), user_id, session_id=session_id)

    @classmethod
    def system(cls, what: str) -> Actor:
        """One of our own processes; it may do what STAFF and ADMIN may."""
        return cls(f"system:{what}", frozenset({Role.STAFF, Role.ADMIN}))

    @property
    def is_staff(self) -> bool:
        return not self.roles.isdisjoint({Role.STAFF, Role.ADMIN})

    @property
    def is_system(self) -> bool:
        return self.name.startswith("system:")


ANONYMOUS: Final = Actor("anonymous")
Permission = Callable[[Actor], None]


def anyone(_actor: Actor) -> None:
    """No account needed."""


def signed_in(actor: Actor) -> None:
    """Raises Unauthenticated for an anonymous actor."""
    if actor == ANONYMOUS:
        raise Unauthenticated("Sign in first: this needs an access token.")


def staff(actor: Actor) -> None:
    """Raises Unauthenticated for an anonymous actor, Forbidden for one who is not STAFF or ADMIN."""
    signed_in(actor)
    if not actor.is_staff:
        raise Forbidden("This needs the role STAFF.")


def admin(actor: Actor) -> None:
    """Raises Unauthenticated for an anonymous actor, Forbidden for one who is not ADMIN."""
    signed_in(actor)
    if Role.ADMIN not in actor.roles:
        raise Forbidden("This needs the role ADMIN.")


def integrator(actor: Actor) -> None:
    """Raises Unauthenticated for an anonymous actor, Forbidden for one who is neither INTEGRATOR nor ADMIN."""
    signed_in(actor)
    if actor.roles.isdisjoint({Role.INTEGRATOR, Role.ADMIN}):
        raise Forbidden("This needs the role INTEGRATOR.")


def analyst(actor: Actor) -> None:
    """Raises Unauthenticated for an anonymous actor, Forbidden for one who is not ANALYST, STAFF or ADMIN."""
    signed_in(actor)
    if not actor.is_staff and Role.ANALYST not in actor.roles:
        raise Forbidden("This needs the role STAFF or ANALYST.")


def log_reader(actor: Actor) -> None:
    """Raises Unauthenticated for an anonymous actor, Forbidden for one who is not ANALYST, INTEGRATOR, STAFF."""
    signed_in(actor)
    if not actor.is_staff and actor.roles.isdisjoint({Role.ANALYST, Role.INTEGRATOR}):
        raise Forbidden("This needs the role STAFF, ANALYST or INTEGRATOR.")


def system(actor: Actor) -> None:
    """Raises Forbidden for everybody but our own processes."""
    if not actor.is_system:
        raise Forbidden("This is done by Kontor itself.")
