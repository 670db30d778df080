CREATE TABLE IF NOT EXISTS order_timeline_v1 (
    id           uuid   PRIMARY KEY,
    number       text   NOT NULL,
    customer_id  uuid   NOT NULL,
    steps        jsonb  NOT NULL,
    version      bigint NOT NULL,
    position     bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS order_timeline_v1_by_customer ON order_timeline_v1 (customer_id);
CREATE INDEX IF NOT EXISTS order_timeline_v1_by_position ON order_timeline_v1 (position);
