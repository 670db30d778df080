CREATE TABLE IF NOT EXISTS catalogue_v1 (
    id           uuid        PRIMARY KEY,
    sku          text        NOT NULL,
    name         text        NOT NULL,
    description  text        NOT NULL,
    price_minor  bigint      NOT NULL,
    currency     text        NOT NULL,
    published    boolean     NOT NULL,
    added_at     timestamptz NOT NULL,
    category_ids uuid[]      NOT NULL DEFAULT '{}',
    version      bigint      NOT NULL,
    position     bigint      NOT NULL
) WITH (fillfactor = 80);
-- A table made before there were categories: its products are in none.
ALTER TABLE catalogue_v1 ADD COLUMN IF NOT EXISTS category_ids uuid[] NOT NULL DEFAULT '{}';
CREATE UNIQUE INDEX IF NOT EXISTS catalogue_v1_by_sku ON catalogue_v1 (sku);
-- Pages by name; id breaks ties.
CREATE INDEX IF NOT EXISTS catalogue_v1_by_name ON catalogue_v1 (name, id);
CREATE INDEX IF NOT EXISTS catalogue_v1_by_position ON catalogue_v1 (position);
