-- The SKU as one word, whatever characters it has. It has a place like every word: in a search for words that stand
-- together, one without a place would hide the others that begin like it.
CREATE FUNCTION catalogue_sku(sku text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('''' || replace(replace(lower(sku), '\', '\\'), '''', '''''') || ''':1')::tsvector;

-- What a product is found by, as one writes it and as English stems it, so that a word that is still being typed and
-- another form of it are both found; the SKU also as it is. The stop word keeps the last word of the one from standing
-- beside the first of the other. Indexes hold what these say: one that is to say something else gets another name.
CREATE FUNCTION catalogue_heads(sku text, name text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN catalogue_sku(sku) || to_tsvector('pg_catalog.simple', sku || ' ' || name)
    || to_tsvector('pg_catalog.english', 'the ' || name);

CREATE FUNCTION catalogue_words(sku text, name text, description text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN catalogue_sku(sku) || to_tsvector('pg_catalog.simple', sku || ' ' || name || ' ' || description)
    || to_tsvector('pg_catalog.english', 'the ' || name || ' ' || description);

-- The amount in thousandths of its currency's major unit, so that prices compare as the amounts that are shown.
-- ISO 4217: the currencies whose minor unit is not a hundredth.
CREATE FUNCTION catalogue_amount(price_minor bigint, currency text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN price_minor * CASE
    WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 1
    WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'VND', 'VUV', 'XAF',
                      'XOF', 'XPF') THEN 1000
    ELSE 10
END;

-- Generations of the catalogue that are there already; later ones are made like these, and catalogue_v1 by its own file.
DO $$
DECLARE
    built text;
BEGIN
    FOR built IN SELECT format('%s_%s', base, generation) FROM view_generations
        WHERE base = 'catalogue_v1' AND generation > 1
    LOOP
        EXECUTE format('CREATE INDEX ON %I (catalogue_amount(price_minor, currency), id)', built);
        EXECUTE format('CREATE INDEX ON %I (added_at, id)', built);
        EXECUTE format('CREATE INDEX ON %I USING gin (catalogue_heads(sku, name))', built);
        EXECUTE format('CREATE INDEX ON %I USING gin (catalogue_words(sku, name, description))', built);
        EXECUTE format('CREATE INDEX ON %I USING gin (category_ids)', built);
    END LOOP;
END $$;
