"""Webhook endpoints: register, change, pause, remove. The secret is told once and never stored in an event."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from commands.handling import Result, Work, require_version
from domain import EVENT_TYPES, may_read
from domain.disclosure import Plain
from domain.errors import Forbidden, IllegalTransition, Invalid, NotFound, Undelivered
from domain.identity import UserId, WebhookEndpointId
from domain.users import Role, User
from domain.webhooks import TYPE_PREFIX, TYPES_MAX, EndpointState, WebhookEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterWebhook:
    """Have events posted to an address. `types` are like order.placed, or * for all that the owner may read."""

    url: Plain
    types: tuple[Plain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWebhook:
    """Another address or other types; None leaves what there is."""

    endpoint_id: WebhookEndpointId
    url: Plain | None = None
    types: tuple[Plain, ...] | None = None
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateWebhookSecret:
    """Another secret; the old one signs too for 24 hours."""

    endpoint_id: WebhookEndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseWebhook:
    """Deliveries wait."""

    endpoint_id: WebhookEndpointId
    reason: Plain = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeWebhook:
    """Deliveries go on."""

    endpoint_id: WebhookEndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveWebhook:
    """Nothing is posted there any more."""

    endpoint_id: WebhookEndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayWebhook:
    """Post again what stands in the log after position `since`, up to and with `until`; without it, up to now."""

    endpoint_id: WebhookEndpointId
    since: int
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestWebhook:
    """Post an event of type kontor.webhook.test, which is in no log, and learn what the endpoint answers."""

    __test__ = False  # no test of ours, whatever pytest thinks

    endpoint_id: WebhookEndpointId


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableWebhook:
    """It failed for too long, or said that it is gone."""

    endpoint_id: WebhookEndpointId
    reason: Plain


async def register_webhook(command: RegisterWebhook, work: Work) -> Result:
    """Raises Invalid. A repeated request does not tell the secret again: rotate it if it was lost."""
    if work.actor.user_id is None:
        raise Forbidden("An endpoint belongs to an account, and this actor has none.")
    _require_readable(work.actor.roles, command.types)
    endpoint = WebhookEndpoint.register(
        endpoint_id=WebhookEndpointId(work.ports.ids.new()),
        owner_id=UserId(work.actor.user_id),
        url=command.url,
        types=command.types,
        known_types=EVENT_TYPES,
        now=work.now,
    )
    # Kept first: its id is new, so nothing is lost if the endpoint is not stored, and no endpoint is without secret.
    secret = work.ports.webhook_secrets.make()
    await work.ports.webhook_secrets.keep(endpoint.id, secret, now=work.now)
    return Result(work.add(endpoint), secret={"secret": secret})


async def update_webhook(command: UpdateWebhook, work: Work) -> Result:
    """Raises NotFound, Conflict, Invalid, or IllegalTransition for a removed one."""
    endpoint = await _own(command.endpoint_id, work)
    require_version(endpoint, command.expected_version)
    if command.types is not None:
        _require_readable(await _owner_roles(endpoint, work), command.types)
    endpoint.update(url=command.url, types=command.types, known_types=EVENT_TYPES, now=work.now)
    return Result(endpoint)


async def rotate_webhook_secret(command: RotateWebhookSecret, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for a removed one. A repeated request does not tell the secret again."""
    endpoint = await _own(command.endpoint_id, work)
    endpoint.rotate_secret(now=work.now)
    secrets, secret = work.ports.webhook_secrets, work.ports.webhook_secrets.make()
    # Kept last: a rotation that is not stored, or decided again, must not cost the secret that is in use.
    return Result(endpoint, secret={"secret": secret}, after=lambda: secrets.keep(endpoint.id, secret, now=work.now))


async def pause_webhook(command: PauseWebhook, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition unless it is ACTIVE."""
    endpoint = await _own(command.endpoint_id, work)
    endpoint.pause(reason=command.reason, now=work.now)
    return Result(endpoint)


async def resume_webhook(command: ResumeWebhook, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for a removed one."""
    endpoint = await _own(command.endpoint_id, work)
    endpoint.resume(now=work.now)
    return Result(endpoint)


async def remove_webhook(command: RemoveWebhook, work: Work) -> Result:
    """Raises NotFound; the second time nothing happens."""
    endpoint = await _own(command.endpoint_id, work)
    if endpoint.state is EndpointState.REMOVED:
        return Result(endpoint)
    endpoint.remove(now=work.now)
    return Result(endpoint, after=lambda: work.ports.webhook_secrets.destroy(endpoint.id))


async def replay_webhook(command: ReplayWebhook, work: Work) -> Result:
    """Raises NotFound, Invalid, or IllegalTransition for one that is told nothing. Workers do it, in bounded steps."""
    endpoint = await _own(command.endpoint_id, work)
    endpoint.replay(since=command.since, until=command.until, now=work.now)
    return Result(endpoint)


async def test_webhook(command: TestWebhook, work: Work) -> Result:
    """Raises NotFound, IllegalTransition for a removed one, or Undelivered with what the endpoint answered.

    Posts once each time it is asked, whether the endpoint is told of events or not; nothing is stored."""
    endpoint = await _own(command.endpoint_id, work)
    if endpoint.state is EndpointState.REMOVED:
        raise IllegalTransition(f"the webhook endpoint {endpoint.id} is REMOVED; register another.")
    problem = await work.ports.webhook_tests.post(endpoint.id, endpoint.url, test_id=work.ports.ids.new(), now=work.now)
    if problem:
        raise Undelivered(f"{endpoint.url} did not take the test: {problem}", field=("endpointId",))
    return Result(endpoint)


async def disable_webhook(command: DisableWebhook, work: Work) -> Result:
    """Raises NotFound, or IllegalTransition for a removed one."""
    endpoint = await _own(command.endpoint_id, work)
    endpoint.disable(reason=command.reason, now=work.now)
    return Result(endpoint)


def _require_readable(roles: Set[str], types: Sequence[str]) -> None:
    """Raises Invalid for a type whose audience is not the owner's. What * stands for is what the owner may read."""
    named = [each.removeprefix(TYPE_PREFIX) for each in types[: TYPES_MAX + 1]]
    if hidden := sorted(each for each in named if each in EVENT_TYPES and not may_read(roles, each)):
        raise Invalid(
            f"events of the type {hidden[0]} are for STAFF and ADMIN, the endpoint's owner is neither; leave it out.",
            field=("types",),
        )


async def _owner_roles(endpoint: WebhookEndpoint, work: Work) -> Set[str]:
    if endpoint.owner_id == work.actor.user_id:
        return work.actor.roles
    owner = await work.load(User, endpoint.owner_id)
    return frozenset() if owner is None else frozenset(owner.roles)


async def _own(endpoint_id: WebhookEndpointId, work: Work) -> WebhookEndpoint:
    endpoint = await work.load(WebhookEndpoint, endpoint_id)
    actor = work.actor
    if endpoint is None or not (endpoint.owner_id == actor.user_id or Role.ADMIN in actor.roles):
        raise NotFound(f"There is no webhook endpoint {endpoint_id} of yours.", field=("endpointId",))
    return endpoint
