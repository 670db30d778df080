"""What each part of Kontor may do with each table: nothing that is not listed here.

The log is appended to and read: no part may change or remove what is in `events`, `commands` or `hash_chain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from projections import VIEWS

API: Final = "api"
WORKER: Final = "worker"
RELAY: Final = "relay"
ANALYST: Final = "analyst"
PARTS: Final = (API, WORKER, RELAY, ANALYST)

_READ: Final = "SELECT"
_APPEND: Final = "SELECT, INSERT"
_PLAN: Final = "SELECT, INSERT, UPDATE (due_at)"  # what waits is hurried
_KEEP: Final = "SELECT, INSERT, UPDATE"
_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
# A worker forgets what an erased person had, and reads none of it.
_FORGET: Final = "SELECT (user_id), DELETE"

# The view of the log for analysts: events for business, whose personal fields are sealed.
BUSINESS_EVENTS: Final = "business_event_log"

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    # The log.
    "events": {API: _APPEND, WORKER: _APPEND, RELAY: _READ},
    "commands": {API: _APPEND, WORKER: _APPEND},
    "hash_chain": {RELAY: _APPEND, API: _READ},
    "event_log": {},
    BUSINESS_EVENTS: {ANALYST: _READ},
    "snapshots": {API: _ALL, WORKER: _ALL},
    # Publishing and following.
    "relay_checkpoint": {RELAY: "SELECT, UPDATE"},
    "relay_partitions": {RELAY: _KEEP, WORKER: _READ, API: _READ},
    "view_positions": {WORKER: _KEEP, API: _READ, RELAY: _READ},
    "view_generations": {WORKER: _READ, API: _READ, RELAY: _READ},
    "parked_events": {WORKER: _ALL, API: _READ},
    "refused_records": {WORKER: _KEEP, API: _READ},
    # What is done in the world.
    "effects": {WORKER: _ALL, API: _PLAN},
    "breakers": {WORKER: _ALL, API: _READ},
    "webhook_planning": {WORKER: _KEEP},
    "webhook_recipients": {WORKER: _ALL, API: _READ},
    "webhook_stretches": {WORKER: _ALL, API: _READ},
    "webhook_deliveries": {WORKER: _ALL, API: _READ},
    "webhook_consents": {WORKER: _ALL, API: _ALL},
    "webhook_secrets": {API: _ALL, WORKER: _READ},
    # People.
    "person_keys": {API: _KEEP, WORKER: _KEEP},
    "stable_keys": {API: _APPEND, WORKER: _APPEND, RELAY: _READ},
    "credentials": {API: _ALL, WORKER: _FORGET},
    "staged_passwords": {API: _ALL, WORKER: _FORGET},
    "mfa": {API: _ALL, WORKER: _FORGET},
    "staged_factors": {API: _ALL, WORKER: _FORGET},
    "prepared_factors": {API: _ALL, WORKER: _FORGET},
    "sessions": {API: _ALL, WORKER: "SELECT, UPDATE, DELETE"},
    "earlier_refresh_tokens": {API: _ALL},
    "account_tokens": {API: _ALL, WORKER: _ALL},
    "past_rows": {API: _ALL},
    "mailbox_mails": {WORKER: _ALL},
    # The owner's alone.
    "migrations": {},
    "database_roles": {},
}
SEQUENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "events_notification_id_seq": {API: "USAGE", WORKER: "USAGE"},
    "order_numbers": {API: "USAGE", WORKER: "USAGE"},
    "view_generation_numbers": {},
}
# Every generation of every view: the first is named here, the others are listed in `view_generations`.
OF_VIEWS: Final[Mapping[str, str]] = {WORKER: _ALL, API: _READ}
VIEW_TABLES: Final = frozenset(view.base for view in VIEWS.values())
FUNCTIONS: Final = (API, WORKER)
ADVISORY_LOCKS: Final = (API, WORKER, RELAY)
