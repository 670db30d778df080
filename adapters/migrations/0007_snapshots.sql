-- The newest snapshot of long aggregates, in the column names of the eventsourcing library. Disposable: without it
-- a load reads all events and comes to the same state. Personal data in it is sealed as in the events.
CREATE TABLE snapshots (
    originator_id       uuid        PRIMARY KEY,
    originator_version  bigint      NOT NULL,
    topic               text        NOT NULL,
    state               bytea       NOT NULL,
    position            bigint      NOT NULL,  -- of the last event in it
    shape               text        NOT NULL,  -- of the code that made it; other code does not read it
    taken_at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
