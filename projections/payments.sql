CREATE TABLE IF NOT EXISTS payments_v1 (
    id           uuid    PRIMARY KEY,
    order_id     uuid    NOT NULL,
    status       text    NOT NULL,
    amount_minor bigint  NOT NULL,
    currency     text    NOT NULL,
    provider     text    NOT NULL,
    reference    text,
    reason       text,
    version      bigint  NOT NULL,
    position     bigint  NOT NULL
) WITH (fillfactor = 80);
-- What Redis does not have yet, see view_positions.copied.
CREATE INDEX IF NOT EXISTS payments_v1_by_position ON payments_v1 (position);
