"""Webhook endpoints: where an integrator wants which events. The secret that signs deliveries is no fact: not here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from eventsourcing.domain import Aggregate

from domain.audience import Audience
from domain.disclosure import Plain
from domain.errors import IllegalTransition, Invalid
from domain.identity import UserId, WebhookEndpointId
from domain.text import plain_text

URL_LENGTH_MAX: Final = 2_000
TYPES_MAX: Final = 50
REASON_LENGTH_MAX: Final = 500
POSITION_MAX: Final = 2**63 - 1
ALL_TYPES: Final = "*"
TYPE_PREFIX: Final = "kontor."  # as the types are called in envelopes
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class EndpointState(StrEnum):
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"
    REMOVED = "REMOVED"


class WebhookEndpoint(Aggregate):
    """One address of one owner, and the event types it is told."""

    TOPIC = "webhook"

    # TOPICs and field names are stored for ever: a changed shape is a new class_version with an upcaster.
    class Created(Aggregate.Created):
        TOPIC = "webhook.registered"
        AUDIENCE = Audience.OWN
        url: Plain
        types: tuple[Plain, ...]
        owner_id: UserId

        def apply(self, aggregate: WebhookEndpoint) -> None:
            aggregate.url, aggregate.types, aggregate.owner_id = self.url, self.types, self.owner_id
            aggregate.state = EndpointState.ACTIVE

    class Updated(Aggregate.Event):
        TOPIC = "webhook.updated"
        AUDIENCE = Audience.OWN
        url: Plain | None
        types: tuple[Plain, ...] | None

        def apply(self, aggregate: WebhookEndpoint) -> None:
            aggregate.url = aggregate.url if self.url is None else self.url
            aggregate.types = aggregate.types if self.types is None else self.types

    class SecretRotated(Aggregate.Event):
        TOPIC = "webhook.secret_rotated"
        AUDIENCE = Audience.OWN

    class Paused(Aggregate.Event):
        TOPIC = "webhook.paused"
        AUDIENCE = Audience.OWN
        reason: Plain

        def apply(self, aggregate: WebhookEndpoint) -> None:
            aggregate.state = EndpointState.PAUSED

    class Resumed(Aggregate.Event):
        TOPIC = "webhook.resumed"
        AUDIENCE = Audience.OWN

        def apply(self, aggregate: WebhookEndpoint) -> None:
            aggregate.state = EndpointState.ACTIVE

    class Disabled(Aggregate.Event):
        TOPIC = "webhook.disabled"
        AUDIENCE = Audience.OWN
        reason: Plain

        def apply(self, aggregate: WebhookEndpoint) -> None:
            aggregate.state = EndpointState.DISABLED

    class Removed(Aggregate.Event):
        TOPIC = "webhook.removed"
        AUDIENCE = Audience.OWN

        def apply(self, aggregate: WebhookEndpoint) -> None:
            aggregate.state = EndpointState.REMOVED

    class ReplayRequested(Aggregate.Event):
        TOPIC = "webhook.replay_requested"
        AUDIENCE = Audience.OWN
        since: int
        until: int | None

    url: str
    types: tuple[str, ...]
    owner_id: UserId
    state: EndpointState

    def __init__(self) -> None:
        """State comes from events alone."""

    @classmethod
    def register(
        cls,
        *,
        endpoint_id: WebhookEndpointId,
        owner_id: UserId,
        url: str,
        types: Sequence[str],
        known_types: Collection[str],
        now: datetime,
    ) -> WebhookEndpoint:
        """A new endpoint, ACTIVE. Raises Invalid for an address or types that cannot be."""
        return cls._create(
            cls.Created,
            id=endpoint_id,
            timestamp=now,
            url=valid_url(url),
            types=valid_types(types, known_types),
            owner_id=owner_id,
        )

    def update(
        self, *, url: str | None, types: Sequence[str] | None, known_types: Collection[str], now: datetime
    ) -> None:
        """Another address or other types; None leaves what there is. Records only what is new."""
        self._require("updated", EndpointState.ACTIVE, EndpointState.PAUSED, EndpointState.DISABLED)
        new_url = None if url is None or (valid := valid_url(url)) == self.url else valid
        wanted = None if types is None else valid_types(types, known_types)
        new_types = None if wanted == self.types else wanted
        if new_url is not None or new_types is not None:
            self.trigger_event(self.Updated, timestamp=now, url=new_url, types=new_types)

    def rotate_secret(self, *, now: datetime) -> None:
        """There is another secret; the old one signs too for a day."""
        self._require("given another secret", EndpointState.ACTIVE, EndpointState.PAUSED, EndpointState.DISABLED)
        self.trigger_event(self.SecretRotated, timestamp=now)

    def pause(self, *, reason: str, now: datetime) -> None:
        """Deliveries wait. Raises IllegalTransition unless it is ACTIVE."""
        if self.state is EndpointState.PAUSED:
            return
        self._require("paused", EndpointState.ACTIVE)
        self.trigger_event(self.Paused, timestamp=now, reason=_reason(reason))

    def resume(self, *, now: datetime) -> None:
        """Deliveries go on. Raises IllegalTransition for a removed one."""
        if self.state is EndpointState.ACTIVE:
            return
        self._require("resumed", EndpointState.PAUSED, EndpointState.DISABLED)
        self.trigger_event(self.Resumed, timestamp=now)

    def disable(self, *, reason: str, now: datetime) -> None:
        """It failed too often, or is gone. Raises IllegalTransition for a removed one."""
        if self.state is EndpointState.DISABLED:
            return
        self._require("disabled", EndpointState.ACTIVE, EndpointState.PAUSED)
        self.trigger_event(self.Disabled, timestamp=now, reason=_reason(reason))

    def remove(self, *, now: datetime) -> None:
        """It is told nothing any more, for ever; the second time nothing happens."""
        if self.state is not EndpointState.REMOVED:
            self.trigger_event(self.Removed, timestamp=now)

    def replay(self, *, since: int, until: int | None, now: datetime) -> None:
        """What stands after position `since` in the log is told again, up to and with `until`; None: up to now.

        Raises Invalid for positions that are none, IllegalTransition for one that is told nothing."""
        self._require("told anything again", EndpointState.ACTIVE, EndpointState.PAUSED)
        for name, position in (("since", since), ("until", until)):
            if position is not None and not 0 <= position <= POSITION_MAX:
                raise Invalid(f"{name} is {position}: a position in the log is 0 to {POSITION_MAX}.", field=(name,))
        if until is not None and until <= since:
            raise Invalid(f"nothing stands after {since} and up to {until}: until must be later.", field=("until",))
        self.trigger_event(self.ReplayRequested, timestamp=now, since=since, until=until)

    def _require(self, wish: str, *allowed: EndpointState) -> None:
        if self.state not in allowed:
            names = " or ".join(state.value for state in allowed)
            raise IllegalTransition(
                f"the webhook endpoint {self.id} is {self.state.value}; only a {names} one can be {wish}."
            )


def valid_url(text: str) -> str:
    """An address to post to. Raises Invalid unless it is https, or http on this machine, with a host and no login."""
    url = plain_text(text, field="url", length_max=URL_LENGTH_MAX)
    try:
        parts = urlsplit(url)
        host, login = parts.hostname, parts.username is not None or parts.password is not None
        _ = parts.port
    except ValueError:
        host, login, parts = None, False, urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not secure or not host or login or "#" in url or any(char.isspace() for char in url):
        raise Invalid(
            "url must be https (http only for localhost), with a host, and without login, fragment or spaces.",
            field=("url",),
        )
    return url


def valid_types(types: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """The event types without their prefix, each once. Raises Invalid for none, too many, or an unknown one."""
    if not 1 <= len(types) <= TYPES_MAX:
        raise Invalid(f"there are {len(types)} types; give 1 to {TYPES_MAX}, or * for all.", field=("types",))
    wanted = tuple(dict.fromkeys(each.removeprefix(TYPE_PREFIX) for each in types))
    unknown = [each for each in wanted if each != ALL_TYPES and each not in known]
    if unknown:
        shown = ", ".join(repr(each[:50]) for each in unknown[:5])
        raise Invalid(f"{shown} is no event type; types are like order.placed, or * for all.", field=("types",))
    return wanted


def _reason(text: str) -> str:
    return plain_text(text, field="reason", length_max=REASON_LENGTH_MAX, length_min=0)
