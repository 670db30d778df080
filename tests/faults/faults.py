"""What is done to the system: one function a fault, numbered as in the matrix of the project's plan.

A function returns when the fault is over; the load goes on around it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from adapters.settings import Settings
from tests.faults import on_code, on_kafka, on_load, on_payments, on_postgres, on_processes, on_records, on_redis
from tests.faults.on_processes import clock_is_wrong, killed
from tests.faults.on_the_network import bad_weather
from tests.faults.scene import Scene
from tests.faults.system import System

Elsewhere = Callable[[System, int], AbstractAsyncContextManager[tuple[str, Settings]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the table. `clients` and `skus` make the load, which is calm in a short trial unless it is `pressing`;
    `after` tidies up what only the trial has brought; `elsewhere` makes another installation than the system's own
    for it."""

    number: int
    name: str
    inject: Callable[[Scene], Awaitable[Any]]
    clients: int = 8
    skus: int = 12
    pressing: bool = False
    after: Callable[[Scene], Awaitable[Any]] | None = None
    elsewhere: Elsewhere | None = None


_TABLE: Final = (
    Fault(number=0, name="none", inject=on_processes.nothing),
    Fault(number=1, name="api-killed", inject=killed("api")),
    Fault(number=2, name="api-killed-answering", inject=on_processes.api_dies_before_it_answers),
    Fault(number=3, name="commit-answer-lost", inject=on_postgres.answers_to_commits_are_lost),
    Fault(number=4, name="backends-terminated", inject=on_postgres.server_processes_of_the_log_end),
    Fault(number=5, name="postgres-immediate-stop", inject=on_postgres.postgres_stops_at_once),
    Fault(number=6, name="postgres-down", inject=on_postgres.postgres_is_down),
    Fault(number=7, name="disk-full", inject=on_postgres.the_disk_is_full),
    Fault(number=8, name="foreign-transaction", inject=on_postgres.a_foreign_transaction_stays_open),
    Fault(number=9, name="hot-aggregate", inject=on_processes.nothing, clients=64, skus=1,
          pressing=True),
    Fault(number=10, name="writer-held-open", inject=on_postgres.a_writer_stands_between_its_position_and_its_commit),
    Fault(number=11, name="relay-killed", inject=killed("relay")),
    Fault(number=12, name="relay-frozen", inject=on_processes.relay_is_frozen_and_another_leads),
    Fault(number=13, name="notify-lost", inject=on_kafka.notifications_are_lost),
    Fault(number=14, name="broker-killed", inject=killed("kafka", 1)),
    Fault(number=15, name="broker-frozen", inject=on_kafka.broker_is_frozen),
    Fault(number=16, name="topics-deleted", inject=on_kafka.topics_are_deleted,
          after=on_kafka.topics_are_whole_again),
    Fault(number=17, name="partitions-added", inject=on_kafka.partitions_are_added,
          after=on_kafka.topics_are_whole_again),
    Fault(number=18, name="rebalances", inject=on_kafka.workers_come_and_go),
    Fault(number=19, name="offsets-reset", inject=on_kafka.offsets_go_back_to_the_earliest),
    Fault(number=20, name="shuffled", inject=on_kafka.records_come_again_and_shuffled),
    Fault(number=21, name="worker-killed", inject=killed("worker")),
    Fault(number=22, name="worker-killed-copying", inject=on_redis.worker_dies_before_it_copies),
    Fault(number=23, name="strangers", inject=on_kafka.strangers_write_to_the_topics,
          after=on_kafka.strangers_records_go),
    Fault(number=39, name="records-forged", inject=on_records.records_are_forged,
          after=on_kafka.strangers_records_go),
    Fault(number=40, name="records-replayed", inject=on_records.records_are_replayed,
          after=on_kafka.strangers_records_go),
    Fault(number=41, name="records-truncated", inject=on_records.records_are_truncated,
          after=on_kafka.strangers_records_go),
    Fault(number=42, name="records-reordered", inject=on_records.records_are_reordered,
          after=on_kafka.strangers_records_go),
    Fault(number=24, name="redis-emptied", inject=on_redis.redis_is_emptied),
    Fault(number=25, name="redis-killed", inject=killed("redis", 1)),
    Fault(number=26, name="redis-full", inject=on_redis.redis_has_no_memory),
    Fault(number=27, name="network-postgres", inject=bad_weather("postgres")),
    Fault(number=27, name="network-redis", inject=bad_weather("redis")),
    Fault(number=27, name="network-kafka", inject=bad_weather("kafka")),
    Fault(number=28, name="clock-api", inject=clock_is_wrong("api")),
    Fault(number=28, name="clock-relay", inject=clock_is_wrong("relay")),
    Fault(number=28, name="clock-worker", inject=clock_is_wrong("worker")),
    Fault(number=29, name="same-key-at-once", inject=on_processes.one_key_many_times_at_once),
    Fault(number=30, name="payment-callbacks",
          inject=on_payments.callbacks_never_come_or_late_twice_and_out_of_order),
    Fault(number=31, name="snapshots-spoilt", inject=on_postgres.snapshots_are_spoilt),
    Fault(number=33, name="new-code", inject=on_code.new_code_beside_the_old, clients=3,
          elsewhere=on_code.installation_of_its_own),
    Fault(number=35, name="worker-out-of-memory", inject=on_processes.worker_has_no_memory),
    Fault(number=36, name="slow-clients", inject=on_load.slow_clients_hold_connections),
    Fault(number=38, name="saturated", inject=on_load.more_is_asked_than_can_be_done, clients=64,
          pressing=True),
    Fault(number=37, name="terminated", inject=on_processes.one_after_the_other_is_told_to_end),
)  # fmt: skip

FAULTS: Final = {fault.name: fault for fault in _TABLE}
