-- The hash chain over the log (see adapters/hash_chain.py). A link covers the events behind the link before it, up to
-- its own position; its hash covers theirs and the hash of the link before.
CREATE TABLE hash_chain (
    position       bigint      PRIMARY KEY,
    events         integer     NOT NULL CHECK (events > 0),
    previous_hash  bytea       NOT NULL,
    hash           bytea       NOT NULL,
    marks          bytea       NOT NULL,  -- 8 bytes of the hash of each event: they tell which event differs
    linked_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Random bytes: compressing them only takes time.
ALTER TABLE hash_chain ALTER COLUMN marks SET STORAGE EXTERNAL;
