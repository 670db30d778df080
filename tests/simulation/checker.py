"""What must be true when everything has come to rest, however it came there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

import msgspec

from adapters.log import LogRecord
from adapters.relay_store import LOST
from commands.checkout import follow_up
from commands.inventory import ReserveOrders
from domain.identity import NAMESPACE, event_id
from domain.inventory import StockItem
from domain.orders import Order
from domain.users import User
from projections.view import Recorded, Row, View
from streams.reacting import ACTOR
from tests.simulation.cast import Client, Stage
from tests.simulation.followers import followers_of


def what_is_left(stage: Stage) -> str:
    """Something that is still to be done; empty when all is at rest."""
    database = stage.database
    if database.rows["checkpoint"][()][1] < len(database.log):
        return "events to publish"
    if any(offset == LOST for _, offset in database.rows["published"].values()):
        return "partitions to publish again"
    for partition, (_, offset) in database.rows["published"].items():
        records = stage.kafka.partitions[partition].records
        if stage.kafka.partitions[partition].end <= offset or not records or records[0].previous:
            return f"{partition} is emptied"
    positions = database.rows["position"]
    for (context, shard), records in database.shards.items():
        for follower in followers_of(database, context):
            if positions[follower, context, shard] < records[-1].position:
                return f"{follower} of {context}/{shard} stands at {positions[follower, context, shard]}"
    if any(event.wish is not None for event in database.rows["parked"].values()):
        return "wishes to grant"
    if not stage.redis.is_renewed:
        return "an incarnation to begin"
    copied = database.rows["copied"]
    for view in stage.views:
        for (context, shard), records in database.shards.items():
            if view.table in followers_of(database, context):
                wanted = [record.position for record in records if _of(view, [record])]
                if wanted and copied.get((view.table, context, shard), 0) < wanted[-1]:
                    return f"copies of {view.table} in shard {shard}"
    return ""


def violations(stage: Stage, clients: list[Client]) -> list[str]:
    """Every promise that is broken."""
    return [
        *stage.ended,
        *_log(stage, clients),
        *_topics(stage),
        *_parked(stage),
        *(found for view in stage.views for found in _view(stage, view)),
        *_checkout(stage),
        *_erased(stage),
    ]


def _log(stage: Stage, clients: list[Client]) -> Iterator[str]:
    streams = stage.database.streams
    for aggregate_id, records in streams.items():
        if [record.version for record in records] != list(range(1, len(records) + 1)):
            yield f"versions of {aggregate_id} have holes"
    for client in clients:
        answers: dict[str, set[tuple[UUID, int]]] = {}
        for told in client.acknowledged:
            answers.setdefault(told.key, set()).add((told.outcome.aggregate_id, told.outcome.version))
            for head in told.outcome.heads:
                if len(streams[head.aggregate_id]) < head.version:
                    yield f"{told.key} was acknowledged with {head}, which is not in the log"
        for key, different in answers.items():
            if len(different) > 1:
                yield f"{key} was answered in {len(different)} ways"
    commands = Counter(append.command_id for append in stage.database.commands.appends)
    yield from (f"command {command_id} is stored {times} times" for command_id, times in commands.items() if times > 1)


def _topics(stage: Stage) -> Iterator[str]:
    for (context, shard), records in stage.database.shards.items():
        first_seen = list(dict.fromkeys(linked.record for linked in stage.kafka.partitions[context, shard].records))
        if first_seen != records:
            seen = [record.position for record in first_seen]
            yield f"topic {context}/{shard} has {seen}, the log {[record.position for record in records]}"


def _parked(stage: Stage) -> Iterator[str]:
    expected: set[tuple[str, UUID, int]] = set()
    for view in stage.views:
        for records in stage.database.streams.values():
            first = _poisoned(stage, view, records)
            if first and not stage.poison.cured:
                expected |= {(view.table, record.aggregate_id, record.version) for record in records[first - 1 :]}
    found = set(stage.database.rows["parked"])
    for key in sorted(found ^ expected):
        yield f"{key} is {'parked' if key in found else 'not parked'}"


def _poisoned(stage: Stage, view: View[Any], records: list[LogRecord]) -> int:
    """The version of this aggregate that the view cannot apply; 0 when it can apply them all."""
    poison = stage.poison
    if poison.follower != view.table or not _of(view, records) or poison.version > len(records):
        return 0
    return poison.version if records[0].aggregate_id.int % 3 == poison.remainder else 0


def _of(view: View[Any], records: list[LogRecord]) -> bool:
    return records[0].event_type.partition(".")[0] in view.follows


def _view(stage: Stage, view: View[Any]) -> Iterator[str]:
    """Rows are the fold of the log, copies the fold up to their version."""
    rows = {key[1]: row for key, row in stage.database.rows["row"].items() if key[0] == view.table}
    copies = {key[1]: row for key, row in stage.redis.rows.items() if key[0] == view.table}
    for aggregate_id, records in stage.database.streams.items():
        if not _of(view, records):
            continue
        history = _history(stage, view, records)
        row, copy = rows.pop(aggregate_id, None), copies.pop(aggregate_id, None)
        expected = history[max(history)] if history else None
        if not _same(row, expected):
            yield f"{view.table} has {row}, the log says {expected}"
        if copy is None:
            continue
        if not _same(copy, history.get(copy.version)):
            yield f"the copy of {view.table} is {copy}, the log says {history.get(copy.version)}"
        elif row is not None and copy.version != row.version:
            yield f"the copy of {view.table} {aggregate_id} stays at version {copy.version} of {row.version}"
    yield from (f"{view.table} has {row_id}, of which the log knows nothing" for row_id in (*rows, *copies))


def _history(stage: Stage, view: View[Any], records: list[LogRecord]) -> dict[int, Any]:
    """The row after each version that the view can apply."""
    poisoned, row, history = _poisoned(stage, view, records), None, {}
    for record in records:
        if poisoned == record.version and not stage.poison.mended:
            if stage.poison.cured:  # given up: the row has seen it
                row = msgspec.structs.replace(row, version=record.version, position=record.position)
                history[record.version] = row
                continue
            break
        row = view.fold(row, _decoded(stage, record))
        history[record.version] = row
    return history


def _same(row: Row | None, other: Row | None) -> bool:
    return msgspec.json.encode(row) == msgspec.json.encode(other)


def _decoded(stage: Stage, record: LogRecord) -> Recorded:
    if record.position not in stage.decoded:
        stage.decoded[record.position] = record.decoded()
    return stage.decoded[record.position]


def _checkout(stage: Stage) -> Iterator[str]:
    """One command for each event that calls for one, no order decided or unit held twice, no order left undecided."""
    called_for = set()
    held: Counter[tuple[UUID, UUID]] = Counter()
    decided: Counter[UUID] = Counter()
    undecided: set[UUID] = set()
    for record in stage.database.log:
        event = _decoded(stage, record).event
        command = follow_up(event)
        if command is not None:
            key = str(event_id(record.aggregate_id, record.version))
            called_for.add(uuid5(NAMESPACE, json.dumps([ACTOR.name, type(command).__name__, key])))
        match event:
            case StockItem.Reserved():
                held[event.order_id, record.aggregate_id] += 1
            case Order.Created():
                undecided.add(record.aggregate_id)
            case Order.Reserved() | Order.Rejected() | Order.Cancelled():
                undecided.discard(record.aggregate_id)
                decided[record.aggregate_id] += not isinstance(event, Order.Cancelled)
    appends = [append for append in stage.database.commands.appends if append.actor == ACTOR.name]
    # A reservation has no key: that it is decided once is seen above.
    done = Counter(append.command_id for append in appends if append.command_name != ReserveOrders.__name__)
    if done != Counter(called_for):
        yield f"the checkout did {dict(done)}, called for was {called_for}"
    yield from (f"order {order_id} is decided {times} times" for order_id, times in decided.items() if times > 1)
    yield from (f"{key} is held {times} times" for key, times in held.items() if times > 1)
    yield from (f"order {order_id} is undecided" for order_id in sorted(undecided))
    yield from _ledger(stage)


def _ledger(stage: Stage) -> Iterator[str]:
    items: dict[UUID, Any] = {}
    for record in stage.database.log:
        if record.event_type.startswith("stock."):
            item = _decoded(stage, record).event.mutate(items.get(record.aggregate_id))
            items[record.aggregate_id] = item
            if not 0 <= item.reserved <= item.on_hand:
                yield f"{item.reserved} of {item.on_hand} {item.sku} are reserved at {record.position}"


def _erased(stage: Stage) -> Iterator[str]:
    for record in stage.database.log:
        if record.event_type == User.Erased.TOPIC and (record.aggregate_id,) not in stage.database.rows["erased"]:
            yield f"{record.aggregate_id} is not erased"
