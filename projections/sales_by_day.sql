CREATE TABLE IF NOT EXISTS sales_by_day_v1 (
    id             uuid    PRIMARY KEY,
    day            date    NOT NULL,
    units          bigint  NOT NULL,
    revenue_minor  bigint  NOT NULL,
    currency       text    NOT NULL,
    counted        boolean NOT NULL,
    version        bigint  NOT NULL,
    position       bigint  NOT NULL
) WITH (fillfactor = 80);
-- The sum over a range of days reads this index alone.
CREATE INDEX IF NOT EXISTS sales_by_day_v1_counted ON sales_by_day_v1 (day, currency) INCLUDE (units, revenue_minor)
    WHERE counted;
CREATE INDEX IF NOT EXISTS sales_by_day_v1_by_position ON sales_by_day_v1 (position);
