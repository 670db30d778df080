"""Who may read which events of the log: each event type declares its audience beside its TOPIC.

The audience counts on every road by which events leave Kontor through the API or a webhook. Kafka topics carry every
type: whoever may read the broker reads them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

STAFF_ROLES: Final[frozenset[str]] = frozenset({"STAFF", "ADMIN"})
LOG_ROLES: Final[frozenset[str]] = STAFF_ROLES | {"ANALYST", "INTEGRATOR"}


class Audience(StrEnum):
    """Whom an event type is for."""

    BUSINESS = "business"  # orders, stock, products, categories, payments
    PERSONAL = "personal"  # that an account exists, what it is called (sealed), that it was erased
    SECURITY = "security"  # sign-ins, roles, sessions, passwords, second factors, claims on addresses, mails
    OWN = "own"  # webhook endpoints: their addresses are secrets of their owners


READERS: Final[dict[Audience, frozenset[str]]] = {
    Audience.BUSINESS: LOG_ROLES,
    Audience.PERSONAL: LOG_ROLES,
    Audience.SECURITY: STAFF_ROLES,
    Audience.OWN: STAFF_ROLES,
}


def declared_audiences(events: Mapping[str, type]) -> dict[str, Audience]:
    """The audience that each event class declares, by its type. Raises TypeError for one that declares none."""
    declared = {name: getattr(event, "AUDIENCE", None) for name, event in events.items()}
    found = {name: audience for name, audience in declared.items() if isinstance(audience, Audience)}
    if undeclared := sorted(declared.keys() - found.keys()):
        raise TypeError(
            f"No audience is declared for {', '.join(undeclared)}; write AUDIENCE = Audience.<...> beside the TOPIC."
        )
    return found
