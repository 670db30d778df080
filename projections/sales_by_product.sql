CREATE TABLE IF NOT EXISTS sales_by_product_v1 (
    id        uuid    PRIMARY KEY,
    day       date    NOT NULL,
    currency  text    NOT NULL,
    lines     jsonb   NOT NULL,
    counted   boolean NOT NULL,
    version   bigint  NOT NULL,
    position  bigint  NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS sales_by_product_v1_counted ON sales_by_product_v1 (day) WHERE counted;
CREATE INDEX IF NOT EXISTS sales_by_product_v1_by_position ON sales_by_product_v1 (position);
