"""A thousand seeded runs, and proof that such runs find what they are there to find."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest
import structlog

from adapters.log import LogRecord
from adapters.wire import Linked
from commands.handling import Pipeline
from streams import applying, publishing, relay
from streams.views import Copier
from tests.simulation.__main__ import simulated
from tests.simulation.copies import Redis
from tests.simulation.followers import SimulatedTransaction
from tests.simulation.scenario import Violated, simulate

SEEDS = range(int(os.environ.get("SEEDS", "1000")))
FOUND_WITHIN_SEEDS = 400
Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


def test_every_promise_is_kept_whatever_goes_wrong() -> None:
    faults, failures = Counter[str](), list[str]()
    for struck, broken in simulated(SEEDS):
        faults += struck
        failures += broken
    assert failures == []
    assert len(faults) >= 25, faults  # a fault that never strikes proves nothing
    assert min(faults.values()) >= len(SEEDS) / 20, faults


def test_a_seed_is_the_same_run_again() -> None:
    told: list[list[str]] = [[], []]
    for lines in told:
        simulate(4, trace=lines.append)
    assert told[0] == told[1]
    assert len(told[0]) > 5


def a_gap_is_applied_over(patched: pytest.MonkeyPatch) -> None:
    def next_of(chain: Sequence[Linked], last: int, _log_end: int) -> tuple[list[LogRecord], None]:
        return [linked.record for linked in chain if linked.record.position > last], None

    patched.setattr(applying, "next_of", next_of)


def the_position_is_stored_before_the_rows(patched: pytest.MonkeyPatch) -> None:
    before = applying._apply

    async def apply(transaction: SimulatedTransaction, follower: Any, records: Any, moved: Any, decoded: Any) -> Any:
        await transaction.move(moved)
        await transaction.commit()
        return await before(transaction, follower, records, moved, decoded)

    patched.setattr(applying, "_apply", apply)


def records_do_not_say_what_was_before_them(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(publishing, "linked", lambda records, _: [Linked(record, 0) for record in records])


def the_checkpoint_moves_before_the_acknowledgements(patched: pytest.MonkeyPatch) -> None:
    before = relay._publish_batch
    patched.setattr(relay, "not_there", nothing_is_lost)  # which would heal it

    async def publish(leadership: Any, topics: Any, published: Any, records: Sequence[LogRecord]) -> None:
        ends = {(each.context, each.shard): (each.position, -1) for each in records}
        await leadership.checkpoint(published.epoch, records[-1].position, ends)
        await before(leadership, topics, published, records)

    patched.setattr(relay, "_publish_batch", publish)


def an_emptied_partition_is_not_noticed(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(relay, "not_there", nothing_is_lost)


async def nothing_is_lost(*_: Any) -> list[Any]:
    return []


def an_older_copy_replaces_a_newer(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(Redis, "put", lambda redis, key, row: redis._copies.update({key: (redis.incarnation, row)}))


def what_redis_had_is_read_when_it_has_lost_some(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(Redis, "is_renewed", property(lambda redis: redis.incarnation != b""))


def a_lost_copy_is_not_made_again(patched: pytest.MonkeyPatch) -> None:
    async def copied(*_: Any) -> bool:
        return True

    patched.setattr(Copier, "_copy_after", copied)


def what_waits_behind_poison_is_not_parked(patched: pytest.MonkeyPatch) -> None:
    before = SimulatedTransaction.park

    async def park(transaction: SimulatedTransaction, records: Sequence[LogRecord], reason: str) -> None:
        if reason:
            await before(transaction, records, reason)

    patched.setattr(SimulatedTransaction, "park", park)


def a_repeated_command_is_refused_for_its_own_work(patched: pytest.MonkeyPatch) -> None:
    async def handled(_: Pipeline, execution: Any, work: Any) -> Any:
        return await execution.command.handler(execution.request, work)

    patched.setattr(Pipeline, "_handled", handled)


def the_checkout_acts_without_a_key(patched: pytest.MonkeyPatch) -> None:
    before = Pipeline.execute

    async def execute(pipeline: Pipeline, request: Any, *, causation_id: UUID | None = None, **named: Any) -> Any:
        if causation_id is not None:
            named["idempotency_key"] = None
        return await before(pipeline, request, causation_id=causation_id, **named)

    patched.setattr(Pipeline, "execute", execute)


BREAKS: list[Break] = [
    a_gap_is_applied_over,
    the_position_is_stored_before_the_rows,
    records_do_not_say_what_was_before_them,
    the_checkpoint_moves_before_the_acknowledgements,
    an_emptied_partition_is_not_noticed,
    an_older_copy_replaces_a_newer,
    what_redis_had_is_read_when_it_has_lost_some,
    a_lost_copy_is_not_made_again,
    what_waits_behind_poison_is_not_parked,
    a_repeated_command_is_refused_for_its_own_work,
    the_checkout_acts_without_a_key,
]


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_a_program_that_is_broken_on_purpose_is_found(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    for seed in range(FOUND_WITHIN_SEEDS):
        try:
            simulate(seed)
        except Violated:
            print(f"found by seed {seed}")  # noqa: T201  # shown by pytest -rP
            return
    pytest.fail(f"{FOUND_WITHIN_SEEDS} seeds did not find it")
