CREATE TABLE IF NOT EXISTS catalogue_v1 (
    id           uuid        PRIMARY KEY,
    sku          text        NOT NULL,
    name         text        NOT NULL,
    description  text        NOT NULL,
    price_minor  bigint      NOT NULL,
    currency     text        NOT NULL,
    published    boolean     NOT NULL,
    added_at     timestamptz NOT NULL,
    version      bigint      NOT NULL,
    position     bigint      NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX IF NOT EXISTS catalogue_v1_by_sku ON catalogue_v1 (sku);
-- Pages by name; id breaks ties.
CREATE INDEX IF NOT EXISTS catalogue_v1_by_name ON catalogue_v1 (name, id);
CREATE INDEX IF NOT EXISTS catalogue_v1_by_position ON catalogue_v1 (position);
