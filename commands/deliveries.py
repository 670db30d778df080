"""What is posted to webhook endpoints: which parts of the log an endpoint is told, and what of them. Pure.

An endpoint is told stretches of the log: an open one from its registration on, with the types it has then; when it
gets other types, that one ends there and another begins; a replay is one with both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from domain.webhooks import ALL_TYPES, EndpointState, WebhookEndpoint

WEBHOOK_TYPES: Final = tuple(
    event.TOPIC
    for event in (
        WebhookEndpoint.Created,
        WebhookEndpoint.Updated,
        WebhookEndpoint.Paused,
        WebhookEndpoint.Resumed,
        WebhookEndpoint.Disabled,
        WebhookEndpoint.Removed,
        WebhookEndpoint.ReplayRequested,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """An endpoint as whoever posts to it has to know it."""

    endpoint_id: UUID
    state: EndpointState
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """A stretch of the log that the endpoint is told: past `after`, up to and with `until`, for ever when None."""

    types: tuple[str, ...]
    after: int
    until: int | None = None
    replay: bool = False


@dataclass(frozen=True, slots=True)
class EndStretch:
    """The open stretch ends with this position."""

    until: int


@dataclass(frozen=True, slots=True)
class Forget:
    """It is told no stretch any more. What waits is dropped; what was tried already is given up, for this reason,
    unless nobody is left to see it."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class BeginAgain:
    """What waits is posted now, and tried for as long as if it had not been tried before."""


Change = Tell | EndStretch | Forget | BeginAgain


def after_event(  # noqa: PLR0911  # one case per event
    recipient: Recipient | None, event: object, *, endpoint_id: UUID, position: int
) -> tuple[Recipient | None, Sequence[Change]]:
    """What the recipient is after an event of its endpoint at that place in the log, and what of what it is told
    changes with it."""
    if isinstance(event, WebhookEndpoint.Created):
        made = Recipient(endpoint_id=endpoint_id, state=EndpointState.ACTIVE, types=event.types)
        return made, (Tell(types=event.types, after=position),)
    if recipient is None:
        return None, ()
    match event:
        case WebhookEndpoint.Updated(types=types) if types is not None:
            changed = replace(recipient, types=types)
            if recipient.state is EndpointState.DISABLED:
                return changed, ()
            return changed, (EndStretch(position), Tell(types=types, after=position))
        case WebhookEndpoint.Paused():
            return replace(recipient, state=EndpointState.PAUSED), ()
        case WebhookEndpoint.Resumed():
            began = recipient.state is EndpointState.DISABLED
            active = replace(recipient, state=EndpointState.ACTIVE)
            return active, (Tell(types=recipient.types, after=position) if began else BeginAgain(),)
        case WebhookEndpoint.ReplayRequested(since=since, until=until):
            end = position if until is None else min(until, position)
            return recipient, (Tell(types=recipient.types, after=since, until=end, replay=True),)
        case WebhookEndpoint.Disabled(reason=reason):
            disabled = f"the endpoint was disabled: {reason}"
            return replace(recipient, state=EndpointState.DISABLED), (Forget(disabled),)
        case WebhookEndpoint.Removed():
            return None, (Forget(None),)
        case _:
            return recipient, ()


def wants(types: Sequence[str], event_type: str) -> bool:
    """Is an event of this type told to whom has these types?"""
    return event_type in types or ALL_TYPES in types
