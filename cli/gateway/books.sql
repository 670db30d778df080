-- Everything the gateway knows. Objects are kept as they are answered; `number` is their order.
CREATE TABLE IF NOT EXISTS objects (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    kind    TEXT NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_of_a_kind ON objects (kind, number);

-- The first result of each idempotency key, and a digest of what was asked.
CREATE TABLE IF NOT EXISTS keys (
    key        TEXT PRIMARY KEY,
    digest     BLOB NOT NULL,
    status     INTEGER NOT NULL,
    body       BLOB NOT NULL,
    request_id TEXT NOT NULL,
    created    REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS keys_by_age ON keys (created);

CREATE TABLE IF NOT EXISTS faults (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    body    BLOB NOT NULL,
    seen    INTEGER NOT NULL
);

-- Webhooks: waiting, sent, lost on purpose, or given up. `held` waits for the next one of the same subject.
CREATE TABLE IF NOT EXISTS deliveries (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    type     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    body     BLOB NOT NULL,
    state    TEXT NOT NULL,
    held     INTEGER NOT NULL,
    due      REAL NOT NULL,
    attempts INTEGER NOT NULL,
    problem  TEXT NOT NULL
);
-- When the next is due, which are, and which wait for another: none may cost more because many were sent.
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS deliveries_in_turn ON deliveries (number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS deliveries_held ON deliveries (subject) WHERE state = 'waiting' AND held;
