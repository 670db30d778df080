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
-- Pages by price and by age, and what a search or a category finds; see the functions in migration 0012.
CREATE INDEX IF NOT EXISTS catalogue_v1_by_amount ON catalogue_v1 (catalogue_amount(price_minor, currency), id);
CREATE INDEX IF NOT EXISTS catalogue_v1_by_age ON catalogue_v1 (added_at, id);
CREATE INDEX IF NOT EXISTS catalogue_v1_by_heads ON catalogue_v1 USING gin (catalogue_heads(sku, name));
CREATE INDEX IF NOT EXISTS catalogue_v1_by_words ON catalogue_v1 USING gin (catalogue_words(sku, name, description));
CREATE INDEX IF NOT EXISTS catalogue_v1_by_category ON catalogue_v1 USING gin (category_ids);
