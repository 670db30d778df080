-- Events that a follower could not apply, and those of the same aggregate behind them, in order. What they say stands
-- in the log alone. `reason` is empty for those that only wait. `wish` is what an operator wants done.
CREATE TABLE parked_events (
    follower      text        NOT NULL,
    aggregate_id  uuid        NOT NULL,
    version       bigint      NOT NULL,
    position      bigint      NOT NULL,
    context       text        NOT NULL,
    shard         smallint    NOT NULL,
    event_type    text        NOT NULL,
    reason        text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0,
    wish          text        CHECK (wish IN ('retry', 'discard')),
    parked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (follower, aggregate_id, version)
);
