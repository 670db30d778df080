-- A view's rows may be built again beside the ones in use. `base` is the table of the first generation; without a row
-- here that one is live.
CREATE TABLE view_generations (
    base        text        NOT NULL,
    generation  integer     NOT NULL CHECK (generation >= 1),
    state       text        NOT NULL CHECK (state IN ('filling', 'beside', 'live', 'previous')),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (base, generation)
);
-- A number is never used again: copies in Redis carry it.
CREATE SEQUENCE view_generation_numbers START 2;
CREATE UNIQUE INDEX view_generations_one_of_each ON view_generations (base, state);

-- Positions belong to a table: another version or generation of a view begins at the beginning.
UPDATE view_positions SET view = view || '_v1'
WHERE view IN ('users', 'catalogue', 'categories', 'stock', 'orders', 'sales_by_day', 'webhooks');
