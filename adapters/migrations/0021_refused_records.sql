-- Records on Kafka that a worker did not believe, because the relay has not signed them for their partition: how many
-- of each, and why the last one. One row a partition, however many there are.
CREATE TABLE refused_records (
    topic    text        NOT NULL,
    shard    smallint    NOT NULL,
    records  bigint      NOT NULL,
    reason   text        NOT NULL,
    last_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, shard)
);
