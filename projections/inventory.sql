CREATE TABLE IF NOT EXISTS stock_v1 (
    id        uuid    PRIMARY KEY,
    sku       text    NOT NULL,
    on_hand   bigint  NOT NULL,
    reserved  bigint  NOT NULL,
    version   bigint  NOT NULL,
    position  bigint  NOT NULL
) WITH (fillfactor = 50);  -- the hottest rows: room for in-page updates
CREATE UNIQUE INDEX IF NOT EXISTS stock_v1_by_sku ON stock_v1 (sku);
CREATE INDEX IF NOT EXISTS stock_v1_by_position ON stock_v1 (position);
