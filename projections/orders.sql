CREATE TABLE IF NOT EXISTS orders_v1 (
    id           uuid        PRIMARY KEY,
    number       text        NOT NULL,
    status       text        NOT NULL,
    customer_id  uuid        NOT NULL,
    lines        jsonb       NOT NULL,
    total_minor  bigint      NOT NULL,
    currency     text        NOT NULL,
    placed_at    timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    reason       text,
    tracking_number text,
    version      bigint      NOT NULL,
    position     bigint      NOT NULL
) WITH (fillfactor = 80);
-- A table made before anything was shipped.
ALTER TABLE orders_v1 ADD COLUMN IF NOT EXISTS tracking_number text;
CREATE UNIQUE INDEX IF NOT EXISTS orders_v1_by_number ON orders_v1 (number);
-- Pages of all orders, and of one customer's, newest first; id breaks ties.
CREATE INDEX IF NOT EXISTS orders_v1_by_placed ON orders_v1 (placed_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS orders_v1_by_customer ON orders_v1 (customer_id, placed_at DESC, id DESC);
-- Pages by amount; and the orders with a line of some SKU. Their expressions are those of the queries, and migration
-- 0017 has them for generations that were there before.
CREATE INDEX IF NOT EXISTS orders_v1_by_total ON orders_v1 (catalogue_amount(total_minor, currency) DESC, id DESC);
CREATE INDEX IF NOT EXISTS orders_v1_by_sku ON orders_v1 USING gin (jsonb_path_query_array(lines, '$[*].sku'));
-- What Redis does not have yet, see view_positions.copied.
CREATE INDEX IF NOT EXISTS orders_v1_by_position ON orders_v1 (position);
-- Those that wait for a decision, for `kontor orders stuck`.
CREATE INDEX IF NOT EXISTS orders_v1_undecided ON orders_v1 (updated_at) WHERE status IN ('PENDING', 'RESERVED');
