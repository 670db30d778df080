"""What must hold after any fault, read from log, Kafka, views, Redis and the ledger, never from the system's word."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from psycopg.sql import SQL

from adapters.wiring import Kontor
from tests.faults.crowd import Crowd, Sent
from tests.faults.on_records import the_log_decides
from tests.faults.scene import Scene

RECOVERED_S_MAX: Final = 240.0  # on two cores a minute of load is some minutes of checkouts
ANSWER_S_MAX: Final = 30.0  # by then a command is answered, whatever is away
LOOK_S: Final = 0.1
TYPED: Final = frozenset({"UNAVAILABLE"})

_EVENTS: Final = SQL(
    "SELECT originator_id, originator_version, command_id FROM events WHERE command_id = ANY(%s::uuid[])"
)
_RECEIVED: Final = SQL(
    "SELECT data->>'quantity', command_id FROM event_log WHERE event_type = 'stock.received' AND aggregate_id = ANY(%s)"
)
_BEHIND: Final = SQL(
    "SELECT count(*) FROM view_positions v WHERE position < (SELECT max(notification_id) FROM events e"
    " WHERE e.context = v.context AND e.shard = v.shard)"
)
# Not of payments: an order that is cancelled while its payment is authorised has two moves decided on one state, and
# whether the money is where it should be is asked below.
_TWICE: Final = SQL(
    "SELECT causation_id, count(DISTINCT command_id) FROM events"
    " WHERE actor = 'system:checkout' AND context <> 'payments' GROUP BY 1 HAVING count(DISTINCT command_id) > 1"
)
_UNDECIDED: Final = SQL("SELECT count(*) FROM orders_v1 WHERE status IN ('PENDING', 'RESERVED')")
_UNSETTLED: Final = SQL("SELECT count(*) FROM effects WHERE kind = 'payment' AND state <> 'done'")
_PAID: Final = SQL(
    "SELECT p.id, o.number, o.status, p.status FROM payments_v1 p JOIN orders_v1 o ON o.id = p.order_id"
    " WHERE o.lines->0->>'sku' LIKE %s"
)
_HELD: Final = SQL(
    "SELECT s.sku, s.reserved, s.on_hand, coalesce(h.held, 0) FROM stock_v1 s LEFT JOIN ("
    "  SELECT l.sku, sum(l.quantity) AS held FROM orders_v1 o,"
    "  jsonb_to_recordset(o.lines) AS l (sku text, quantity int)"
    "  WHERE o.status IN ('RESERVED', 'CONFIRMED') GROUP BY l.sku) h USING (sku) WHERE s.sku LIKE %s"
)


@dataclass(slots=True)
class Outcome:
    """What a trial has shown."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    repeated_records: int = 0  # on Kafka: allowed, readers drop them
    acknowledged: int = 0
    recovery_s: float = 0.0
    slowest_s: float = 0.0  # answer to a command

    @property
    def violations(self) -> list[str]:
        """Everything that must not be."""
        return [*self.lost, *self.duplicated, *self.reordered, *self.other]


async def recovered(kontor: Kontor) -> float:
    """Wait until every follower has what the log has and every order is decided; returns how long that took.

    Raises TimeoutError after RECOVERED_S_MAX."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(RECOVERED_S_MAX):
        while await _open_ends(kontor):
            await asyncio.sleep(LOOK_S)
    return loop.time() - began


async def _open_ends(kontor: Kontor) -> int:
    try:
        ((behind,),) = await kontor.reads.fetch(_BEHIND, [])
        ((undecided,),) = await kontor.reads.fetch(_UNDECIDED, [])
        ((unsettled,),) = await kontor.reads.fetch(_UNSETTLED, [])
    except Exception:  # whatever is away is not recovered
        return 1
    return int(behind) + int(undecided) + int(unsettled)


async def check(scene: Scene) -> Outcome:
    """Everything that can be seen to be wrong."""
    kontor, crowd = scene.kontor, scene.crowd
    outcome = Outcome(other=[*scene.wrong, *crowd.older, *_answers_are_wrong(scene)])
    outcome.slowest_s = max(answer.took_s for answer in crowd.answers)
    acknowledged = [sent for sent in crowd.ledger.sent if sent.acknowledged]
    outcome.acknowledged = len(acknowledged)
    await _acknowledged_are_stored(kontor, acknowledged, outcome)
    await _received_once(kontor, crowd, outcome)
    for event_id, commands in await kontor.reads.fetch(_TWICE, []):
        outcome.duplicated.append(f"event {event_id} was followed by {commands} commands of the checkout")
    for sku, reserved, on_hand, held in await kontor.reads.fetch(_HELD, [f"F-{crowd.run}-%"]):
        if not 0 <= reserved <= on_hand or reserved != held:
            outcome.other.append(f"{sku}: {reserved} reserved, {held} held by orders, {on_hand} on hand")
    await _money_is_where_orders_say(scene, outcome)
    outcome.other += await the_log_decides(kontor)
    verdict = await scene.verify(kontor)
    outcome.repeated_records = verdict.compared.get("kafka records repeated", 0)
    kinds = {"missing": outcome.lost, "out of order": outcome.reordered}
    for finding in verdict.findings:
        kinds.get(finding.what, outcome.other).append(
            f"{finding.where}: {finding.what}: {finding.subject}: {finding.detail}"
        )
    return outcome


async def _money_is_where_orders_say(scene: Scene, outcome: Outcome) -> None:
    """I8: the provider holds the money of confirmed orders, once, and of no other; nothing was taken or given back."""
    settings = scene.settings
    headers = {"Authorization": f"Bearer {settings.stripe_key.get_secret_value()}"}
    intents: dict[str, dict[str, Any]] = {}
    after = ""
    while True:
        url = f"{settings.stripe_url}/_gateway/ledger"
        async with scene.http.get(url, params={"after": after}, headers=headers) as answer:
            rows = (await answer.json())["rows"]
        for row in rows:
            if row["metadata"]["payment_id"] in intents:
                outcome.duplicated.append(f"two payments at the provider for {row['metadata']}")
            intents[row["metadata"]["payment_id"]] = row
        if not rows:
            break
        after = rows[-1]["intent"]
    for payment, number, order, status in await scene.kontor.reads.fetch(_PAID, [f"F-{scene.crowd.run}-%"]):
        at = intents.get(str(payment))
        held = at is not None and at["held"] > 0
        if held is not (order == "CONFIRMED"):
            outcome.other.append(f"order {number} is {order}, its payment {status}, and at the provider: {at}")
        if at is not None and at["captured"]:
            outcome.duplicated.append(f"money was taken for order {number}, which was not shipped: {at}")


def _answers_are_wrong(scene: Scene) -> list[str]:
    """I13: nothing is acknowledged while nothing can be stored, and whoever is refused is told why, in time."""
    wrong = []
    for answer in scene.crowd.answers:
        told = f"{'read' if answer.read else 'command'} {answer.status} {answer.code} after {answer.took_s:.1f} s"
        if answer.status >= 500 and not answer.read and answer.code not in TYPED:
            wrong.append(f"an answer that is not typed: {told}")
        if answer.took_s > ANSWER_S_MAX:
            wrong.append(f"an answer that came too late: {told}")
        if (
            answer.status == 200
            and not answer.read
            and any(since < answer.sent_at and answer.answered_at < until for since, until in scene.impossible)
        ):
            wrong.append(f"acknowledged while nothing could be stored: {told}")
    return wrong


async def _acknowledged_are_stored(kontor: Kontor, acknowledged: list[Sent], outcome: Outcome) -> None:
    """I1 and I2: what was answered is in the log, and no two keys have the same effect."""
    ids = [sent.command_id for sent in acknowledged]
    versions: dict[UUID, dict[UUID, int]] = {}
    for aggregate_id, version, command_id in await kontor.reads.fetch(_EVENTS, [ids]):
        highest = versions.setdefault(command_id, {})
        highest[aggregate_id] = max(highest.get(aggregate_id, 0), version)
    for sent in acknowledged:
        assert sent.command_id is not None
        assert sent.aggregate_id is not None
        stored = versions.get(sent.command_id, {}).get(sent.aggregate_id)
        # A command whose wish was already so has a receipt and no event.
        if stored is None and sent.command != "cancel-order":
            outcome.lost.append(f"{sent.command} {sent.key} was acknowledged and is not in the log")
        elif stored not in (None, sent.version):
            outcome.other.append(f"{sent.command} {sent.key}: version {sent.version} was told, {stored} is stored")
    for command_id, keys in Counter(ids).items():
        if keys > 1 and len({sent.key for sent in acknowledged if sent.command_id == command_id}) > 1:
            outcome.duplicated.append(f"{keys} keys have the one command {command_id}")


async def _received_once(kontor: Kontor, crowd: Crowd, outcome: Outcome) -> None:
    """Each receipt of stock was executed once: the log has as many as were acknowledged, and those nobody knows of."""
    receipts = [sent for sent in crowd.ledger.sent if sent.command == "receive-stock"]
    known = {sent.command_id for sent in receipts if sent.acknowledged}
    unknown = sum(not sent.acknowledged and not sent.refusal for sent in receipts)
    subjects = [sent.aggregate_id for sent in receipts if sent.aggregate_id]
    in_log = Counter(command_id for _, command_id in await kontor.reads.fetch(_RECEIVED, [subjects]))
    outcome.duplicated += [f"command {command_id} received stock {times} times"
                           for command_id, times in in_log.items() if times > 1]  # fmt: skip
    strangers = len(in_log.keys() - known) - unknown
    if strangers > 0:
        outcome.duplicated.append(f"{strangers} receipts of stock are in the log that no key stands for")
