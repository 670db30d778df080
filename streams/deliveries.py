"""Webhook deliveries: every event for every endpoint that wants its type, posted in order per aggregate, at least once.

One worker at a time plans, from the log itself: whatever Kafka does, an endpoint is told what follows its registration.
What is planned are rows of a ledger, with the position up to which they are, so nothing is planned twice or left out.
Any number of workers post, each endpoint by itself (`streams.effects`): a dead one delays nobody else. A process that
is killed between the endpoint's answer and our note posts again, with the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from eventsourcing.persistence import MapperDeserialisationError

from adapters.away import AWAY, pause
from adapters.deliveries_ledger import RETRIED_FOR, Delivery, effect_of
from adapters.deliveries_plan import Planning, Stretch, planning
from adapters.log import EventLog, Interest, LogRecord
from adapters.webhook_consents import NoConsent
from adapters.webhook_posting import Answer, NotAnswered
from adapters.wire import structured
from adapters.wiring import Kontor
from commands.deliveries import WEBHOOK_TYPES, after_event, wants
from commands.handling import Actor
from commands.webhooks import DisableWebhook
from domain import may_read
from domain.identity import WebhookEndpointId, event_id
from domain.webhooks import ALL_TYPES, EndpointState, WebhookEndpoint
from streams.effects import Effects, GivenUp
from streams.readers import LOSSES, as_read_by, orphaned, owner_roles, readable
from streams.settling import NotYet

log = structlog.get_logger()

ACTOR: Final = Actor.system("webhooks")
NOT_FOR_OWNER: Final = "events of this type are for STAFF and ADMIN, and the endpoint's owner is neither"
LOOK_S: Final = 0.5
LANE_LOOK_S: Final = 60.0  # it is woken when something is due
LANE_KEPT_S: Final = 600.0  # with its breaker, though nothing was due
AT_ONCE: Final = 8  # to one endpoint
EVENTS_AT_ONCE: Final = 500  # read for those who stand at one place
POSITIONS_AT_ONCE: Final = 20_000  # looked through for what is rare
UNNOTED_POSITIONS_MAX: Final = 1_000  # that nobody wanted, and are looked through again
PAUSE_S_MIN: Final = 10.0
PAUSE_S_MAX: Final = 8 * 3_600.0
BUSY: Final = frozenset({408, 425, 429})  # and 5xx: not about what was posted


class Untaken(NotYet):
    """The endpoint has answered, and not taken it: what others are told may be taken."""


class EndpointAway(Exception):
    """It did not answer, or says that it cannot now. It may be posted again, at the earliest after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Planned:
    """How many deliveries were planned, and whether there is more to plan now."""

    deliveries: int
    more: bool


async def plan(kontor: Kontor) -> Planned:
    """Plan what the log has for endpoints, one bounded step. Raises one of AWAY; nothing is lost by it."""
    async with planning(kontor.pool) as transaction:
        if transaction is None:
            return Planned(0, more=False)
        end = await kontor.log.end()
        known, changed = await _taken_in(kontor, transaction, end)
        planned: list[tuple[Stretch, LogRecord]] = []
        moved: dict[int, int] = {}
        worth_noting = changed
        more = known < end
        for (position, until), stretches in _together(await transaction.stretches(known), known).items():
            records, reached = await _read(kontor.log, position, until, stretches)
            for stretch in stretches:
                planned += [(stretch, record) for record in records if wants(stretch.types, record.event_type)]
                moved[stretch.stretch_id] = reached
            ended = any(reached == stretch.until for stretch in stretches)
            worth_noting |= ended or reached - position > UNNOTED_POSITIONS_MAX
            more |= ended or reached < until  # behind one that has ended another may begin
        if planned := await readable(kontor, planned):
            await transaction.plan(planned)
        if planned or worth_noting:
            await transaction.move(known, moved)
    return Planned(len(planned), more)


async def _taken_in(kontor: Kontor, transaction: Planning, end: int) -> tuple[int, bool]:
    """Learn of the endpoints' own events, and of what their owners have lost; up to where that is known now, and
    whether there was any."""
    found = await kontor.log.matching(transaction.position, limit=EVENTS_AT_ONCE, types=(*WEBHOOK_TYPES, *LOSSES))
    records = [record for record in found if record.position <= end]
    for record in records:
        if record.event_type in LOSSES:
            continue
        recipient = await transaction.recipient(record.aggregate_id)
        try:
            event = record.decoded().event
        except MapperDeserialisationError as error:
            log.error("webhook_event_unreadable", position=record.position, error=str(error))
            continue
        changed, changes = after_event(recipient, event, endpoint_id=record.aggregate_id, position=record.position)
        await transaction.change(record.aggregate_id, changed, changes)
    await _disable_orphans(kontor, transaction, [record for record in records if record.event_type in LOSSES])
    known = records[-1].position if len(found) == EVENTS_AT_ONCE and records else end
    return known, bool(records)


async def _disable_orphans(kontor: Kontor, transaction: Planning, losses: Sequence[LogRecord]) -> None:
    """At once, and not with the next event that an endpoint wants: its owner may not own it any more. What dies before
    the position is noted does it again, which does nothing then."""
    if not losses:
        return
    last = {record.aggregate_id: event_id(record.aggregate_id, record.version) for record in losses}
    enabled = await transaction.enabled()
    for endpoint_id, (owner_id, reason) in (await orphaned(kontor, last.keys(), enabled)).items():
        await _disable(kontor, endpoint_id, reason, causation_id=last[owner_id])


def _together(stretches: Sequence[Stretch], end: int) -> Mapping[tuple[int, int], list[Stretch]]:
    """By the part of the log that is to be read for them: nearly all stand at its end."""
    found: dict[tuple[int, int], list[Stretch]] = {}
    for stretch in stretches:
        until = end if stretch.until is None else min(stretch.until, end)
        found.setdefault((stretch.position, until), []).append(stretch)
    return found


async def _read(
    event_log: EventLog, position: int, until: int, stretches: Sequence[Stretch]
) -> tuple[list[LogRecord], int]:
    """What any of them may want past the position, and up to where that is all there is."""
    types = frozenset(each for stretch in stretches for each in stretch.types)
    window_end = min(until, position + POSITIONS_AT_ONCE)
    interest = Interest(event_types=None if ALL_TYPES in types else types)
    records = await event_log.wanted(position, window_end, interest, limit=EVENTS_AT_ONCE)
    return records, records[-1].position if len(records) == EVENTS_AT_ONCE else window_end


async def deliver(kontor: Kontor, delivery: Delivery) -> None:
    """Post it; return when the endpoint has taken it.

    Raises GivenUp when there is nobody to post it to any more, Untaken, EndpointAway, and what the pipeline raises.
    An endpoint that says that it is gone, has taken nothing for as long as a delivery is retried, or whose owner may
    not read the log any more, is disabled."""
    delivery.last_status = None
    endpoint = (await kontor.store.load([delivery.endpoint_id])).get(delivery.endpoint_id, (None,))[0]
    if not isinstance(endpoint, WebhookEndpoint) or endpoint.state in (EndpointState.DISABLED, EndpointState.REMOVED):
        raise GivenUp("the endpoint is told nothing any more")
    if endpoint.state is EndpointState.PAUSED:
        raise NotYet("the endpoint is paused")
    # As who asks for the log itself: by what its owner may do now.
    roles, loss = await owner_roles(kontor, endpoint)
    if loss is not None:
        await _disable(kontor, delivery.endpoint_id, loss, causation_id=delivery.event_id)
        raise GivenUp(loss)
    if not may_read(roles, delivery.event_type):
        raise GivenUp(NOT_FOR_OWNER)
    body = await _body(kontor, delivery, roles)
    now = kontor.ports.clock.now()
    secrets = await kontor.ports.webhook_secrets.current(endpoint.id, now=now)
    try:
        await kontor.consents.obtain(endpoint.id, endpoint.url)
        answer = await kontor.poster.post(
            endpoint.url, body, webhook_id=str(delivery.event_id), secrets=secrets, now=now
        )
    except (NotAnswered, NoConsent) as error:
        problem: Exception = EndpointAway(str(error))
    else:
        delivery.last_status = answer.status
        if answer.taken:
            return
        if answer.status == 410:
            await _disable(kontor, delivery.endpoint_id, f"it {answer}", causation_id=delivery.event_id)
            raise GivenUp(f"it {answer}")
        problem = await _untaken(kontor, delivery, answer)
    if delivery.give_up_at is not None and kontor.ports.clock.now() >= delivery.give_up_at:
        # Before the last failure is noted: whoever dies in between comes here again.
        await _disable_if_dead(kontor, delivery, delivery.give_up_at - RETRIED_FOR, problem)
        raise GivenUp(str(problem))
    raise problem


async def _body(kontor: Kontor, delivery: Delivery, roles: Set[str]) -> bytes:
    found = await kontor.log.of_aggregate(delivery.subject_id, limit=1, after_version=delivery.version - 1)
    if not found or found[0].version != delivery.version:
        raise GivenUp(f"the log has no version {delivery.version} of {delivery.subject_id}")
    return structured(as_read_by(roles, found[0]))


async def _untaken(kontor: Kontor, delivery: Delivery, answer: Answer) -> Exception:
    if answer.status not in BUSY and answer.status < 500:
        return Untaken(f"it {answer}")
    if answer.retry_after_s is not None:
        await kontor.deliveries.leave_alone(delivery.endpoint_id, answer.retry_after_s)
    return EndpointAway(f"it {answer}", retry_after_s=answer.retry_after_s)


async def _disable_if_dead(kontor: Kontor, delivery: Delivery, since: datetime, problem: Exception) -> None:
    if not await kontor.deliveries.takes_some(delivery.endpoint_id, since):
        reason = f"nothing was taken for {RETRIED_FOR.days} days; last: {problem}"
        await _disable(kontor, delivery.endpoint_id, reason, causation_id=delivery.event_id)


async def _disable(kontor: Kontor, endpoint_id: UUID, reason: str, *, causation_id: UUID) -> None:
    log.warning("endpoint_disabled", endpoint=str(endpoint_id), reason=reason)
    command = DisableWebhook(endpoint_id=WebhookEndpointId(endpoint_id), reason=reason)
    await kontor.pipeline.execute(command, actor=ACTOR, causation_id=causation_id)


def backoff_s(attempts: int) -> float:
    """Exponential with full jitter, from seconds to hours: some twenty attempts in three days."""
    return random.uniform(0, min(PAUSE_S_MAX, PAUSE_S_MIN * 4 ** min(attempts - 1, 10)))  # noqa: S311  # no secret


@dataclass(slots=True)
class _Lane:
    """What posts to one endpoint."""

    effects: Effects[Delivery]
    task: asyncio.Task[None]
    due_at: float  # was last seen to be due, by the loop's clock


class Deliveries:
    """Plans and posts, in this process."""

    def __init__(self, kontor: Kontor) -> None:
        self._kontor = kontor
        self._lanes: dict[UUID, _Lane] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled; what is being posted is then anybody's, and posted again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._plan())
            group.create_task(self._post(group))

    async def _plan(self) -> None:
        while True:
            try:
                planned = await plan(self._kontor)
            except AWAY:
                planned = Planned(0, more=False)
            if planned.deliveries:
                self._news.set()
            await pause(0 if planned.more else LOOK_S)

    async def _post(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            try:
                due = await self._kontor.deliveries.due()
            except AWAY:
                due = []
            for endpoint_id in due:
                if endpoint_id not in self._lanes:
                    self._lanes[endpoint_id] = self._lane(endpoint_id, group)
                self._lanes[endpoint_id].due_at = loop.time()
                self._lanes[endpoint_id].effects.wake()
            self._let_go(loop.time() - LANE_KEPT_S)
            try:
                await asyncio.wait_for(self._news.wait(), LOOK_S)
            except TimeoutError:
                await pause(0)

    def _lane(self, endpoint_id: UUID, group: asyncio.TaskGroup) -> _Lane:
        async def do(delivery: Delivery) -> None:
            await deliver(self._kontor, delivery)

        kind = effect_of(endpoint_id)
        effects = Effects(self._kontor.deliveries, kind, do, at_once=AT_ONCE, look_s=LANE_LOOK_S, backoff=backoff_s)
        return _Lane(effects, group.create_task(effects.run(), name=kind), asyncio.get_running_loop().time())

    def _let_go(self, not_due_since: float) -> None:
        for endpoint_id, lane in list(self._lanes.items()):
            if lane.due_at < not_due_since:
                lane.task.cancel()
                del self._lanes[endpoint_id]
