-- The log by what one asks of it: each of these alone gives a page in position order, without a row that is not shown.
CREATE INDEX events_by_type ON events (topic, notification_id);
CREATE INDEX events_by_actor ON events (actor, notification_id);
CREATE INDEX events_by_correlation ON events (correlation_id, notification_id);

-- Generations of the orders that are there already; later ones are made like these, and orders_v1 by its own file.
DO $$
DECLARE
    built text;
BEGIN
    FOR built IN SELECT format('%s_%s', base, generation) FROM view_generations
        WHERE base = 'orders_v1' AND generation > 1
    LOOP
        EXECUTE format('CREATE INDEX ON %I (catalogue_amount(total_minor, currency) DESC, id DESC)', built);
        EXECUTE format('CREATE INDEX ON %I USING gin (jsonb_path_query_array(lines, ''$[*].sku''))', built);
    END LOOP;
END $$;
