"""What operators watch, in the Prometheus text format at `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from commands.ports import Overloaded
from domain.errors import DomainError, Forbidden, Unauthenticated

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
REGISTRY: Final = CollectorRegistry()

_COMMANDS: Final = Histogram(
    "kontor_command_seconds",
    "How long commands took, by name and how they ended.",
    ("command", "outcome"),
    buckets=BUCKETS_S,
    registry=REGISTRY,
)
_CONFLICTS: Final = Counter(
    "kontor_command_conflicts", "Lost races: the command decided again.", ("command",), registry=REGISTRY
)
FLUSHED_APPENDS: Final = Histogram(
    "kontor_flush_appends", "Appends that shared one flush of the log.", buckets=BATCHES, registry=REGISTRY
)
FLUSH_SECONDS: Final = Histogram(
    "kontor_flush_seconds", "How long flushes of the log took.", buckets=BUCKETS_S, registry=REGISTRY
)
QUEUED_APPENDS: Final = Gauge("kontor_queued_appends", "Appends that wait for a flush.", registry=REGISTRY)
SOCKETS: Final = Gauge("kontor_websockets", "Open WebSocket connections.", registry=REGISTRY)
SUBSCRIPTIONS: Final = Gauge("kontor_subscriptions", "Open subscriptions of a field.", ("field",), registry=REGISTRY)
SUBSCRIPTIONS_TOO_SLOW: Final = Counter(
    "kontor_subscriptions_too_slow", "Subscriptions ended because too little was taken.", ("field",), registry=REGISTRY
)
_GENERATION: Final = ("view", "generation")
VIEW_EVENTS_BEHIND: Final = Gauge(
    "kontor_view_events_behind",
    "Events a generation of a view has not applied; estimated for a shard with more than 10,000.",
    _GENERATION,
    registry=REGISTRY,
)
VIEW_EVENTS_DONE: Final = Gauge(
    "kontor_view_events_done",
    "Events a generation that is being built has applied; after a start of this process at first too few.",
    _GENERATION,
    registry=REGISTRY,
)
VIEW_PARKED: Final = Gauge(
    "kontor_view_parked_aggregates",
    "Aggregates with an event that a generation of a view could not apply.",
    _GENERATION,
    registry=REGISTRY,
)
EFFECTS: Final = Gauge(
    "kontor_effects", "Effects of a kind that are due (waiting) or given up.", ("kind", "state"), registry=REGISTRY
)
EFFECTS_OLDEST_S: Final = Gauge(
    "kontor_effects_oldest_due_seconds",
    "How long the oldest effect of a kind is due.",
    ("kind",),
    registry=REGISTRY,
)
BREAKER_STATE: Final = Gauge(
    "kontor_breaker_state",
    "1 for the state of a provider's circuit breaker: closed, open or half_open; of webhook endpoints, how many.",
    ("kind", "state"),
    registry=REGISTRY,
)
REFRESH_TOKENS_REUSED: Final = Counter(
    "kontor_refresh_tokens_reused",
    "Refresh tokens that were used a second time: their sessions were ended, for a copy is out.",
    registry=REGISTRY,
)
RATE_LIMITED: Final = Counter(
    "kontor_rate_limited", "Attempts that were refused because there had been too many.", registry=REGISTRY
)
CACHE_HITS: Final = Counter("kontor_response_cache_hits", "Answers from the cache.", registry=REGISTRY)
CACHE_MISSES: Final = Counter(
    "kontor_response_cache_misses", "Questions that could have been answered from it, but were not.", registry=REGISTRY
)
CACHE_INVALIDATIONS: Final = Counter(
    "kontor_response_cache_invalidations",
    "Answers dropped because what they were made from changed, or changes were no longer told.",
    registry=REGISTRY,
)
CACHE_BYTES: Final = Gauge("kontor_response_cache_bytes", "Bytes that kept answers take.", registry=REGISTRY)
RECORDS_REFUSED: Final = Gauge(
    "kontor_kafka_records_refused",
    "Records on Kafka that workers did not believe, because the relay has not signed them for their partition.",
    ("topic",),
    registry=REGISTRY,
)
VIEW_STATE: Final = Gauge(
    "kontor_view_state",
    "1 for the state a generation of a view is in: live, filling, beside, previous, or stopped.",
    (*_GENERATION, "state"),
    registry=REGISTRY,
)


class PrometheusMeter:
    """See `commands.ports.Meter`."""

    @contextmanager
    def measured(self, command: str) -> Iterator[None]:
        """See `commands.ports.Meter.measured`. Outcomes: done, a rejection's code, unavailable, failed."""
        started, outcome = time.perf_counter(), "done"
        try:
            yield
        except BaseException as error:
            outcome = _outcome_of(error)
            raise
        finally:
            _COMMANDS.labels(command, outcome).observe(time.perf_counter() - started)

    def conflicted(self, command: str) -> None:
        """See `commands.ports.Meter.conflicted`."""
        _CONFLICTS.labels(command).inc()


def _outcome_of(error: BaseException) -> str:
    match error:
        case DomainError():
            return error.code.lower()
        case Forbidden():
            return "forbidden"
        case Unauthenticated():
            return "unauthenticated"
        case Overloaded():
            return "overloaded"
        case _:
            return "failed"
