-- One row: how far the relay has published, and which leader may say so (epoch is its fencing number).
CREATE TABLE relay_checkpoint (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch       bigint      NOT NULL DEFAULT 0,
    position    bigint      NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO relay_checkpoint DEFAULT VALUES;

-- Per partition: the last position published (the next record's `previous`) and the offset it got. An end offset
-- below that tells that the topic was emptied or made again.
CREATE TABLE relay_partitions (
    context       text     NOT NULL,
    shard         smallint NOT NULL,
    position      bigint   NOT NULL,
    kafka_offset  bigint   NOT NULL,
    PRIMARY KEY (context, shard)
);

-- How far each view (or process manager) has applied each shard: written in the transaction of its rows.
-- `copied` is how far Redis is known to have the copies.
CREATE TABLE view_positions (
    view        text        NOT NULL,
    context     text        NOT NULL,
    shard       smallint    NOT NULL,
    position    bigint      NOT NULL DEFAULT 0,
    copied      bigint      NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (view, context, shard)
) WITH (fillfactor = 50);  -- hot rows: room for in-page updates
