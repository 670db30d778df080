-- Judges appends as before, and two things more: the versions within an append have no holes and no repeats, and a
-- stream may begin at version 0 as well as 1 (the library lets an aggregate choose).
CREATE OR REPLACE FUNCTION append_events(
    c_id uuid[], c_name text[], c_actor text[], c_digest bytea[], c_result text[], c_correlation uuid[], c_causation uuid[],
    e_command int[], e_id uuid[], e_version bigint[], e_topic text[], e_state bytea[], e_schema smallint[],
    e_context text[], e_shard smallint[]
) RETURNS TABLE (place bigint, refused text, first_position bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7310110114111);
    PERFORM pg_notify('kontor_events', '');
    RETURN QUERY
    WITH c AS MATERIALIZED (
        SELECT * FROM unnest(c_id, c_name, c_actor, c_digest, c_result, c_correlation, c_causation)
            WITH ORDINALITY AS u (id, name, actor, digest, result, correlation, causation, n)
    ), e AS MATERIALIZED (
        SELECT * FROM unnest(e_command, e_id, e_version, e_topic, e_state, e_schema, e_context, e_shard)
            WITH ORDINALITY AS u (n, id, version, topic, state, schema_version, context, shard, ord)
    ), refusal AS MATERIALIZED (
        SELECT c.n, 'repeated' AS why FROM c WHERE EXISTS (SELECT FROM commands k WHERE k.command_id = c.id)
        UNION ALL
        SELECT DISTINCT f.n, 'conflict' FROM (
            SELECT e.n, e.id, min(e.version) AS first, max(e.version) - min(e.version) + 1 AS span, count(*) AS events,
                   count(DISTINCT e.version) AS versions
            FROM e GROUP BY e.n, e.id
        ) f
        WHERE f.events <> f.span OR f.events <> f.versions OR f.first <> coalesce(
            1 + (SELECT max(h.originator_version) FROM events h WHERE h.originator_id = f.id), CASE f.first WHEN 0 THEN 0 ELSE 1 END)
    ), accepted AS MATERIALIZED (
        SELECT * FROM c WHERE NOT EXISTS (SELECT FROM refusal r WHERE r.n = c.n)
    ), stored AS (
        INSERT INTO events (originator_id, originator_version, topic, state, schema_version, context, shard,
                            command_id, correlation_id, causation_id, actor)
        SELECT e.id, e.version, e.topic, e.state, e.schema_version, e.context, e.shard,
               a.id, a.correlation, a.causation, a.actor
        FROM e JOIN accepted a ON a.n = e.n ORDER BY e.ord
        RETURNING events.command_id, events.notification_id
    ), span AS (
        SELECT s.command_id, min(s.notification_id) AS first, max(s.notification_id) AS last
        FROM stored s GROUP BY s.command_id
    ), kept AS (
        INSERT INTO commands (command_id, name, actor, request_digest, result, first_position, last_position)
        SELECT a.id, a.name, a.actor, a.digest, a.result::jsonb, s.first, s.last
        FROM accepted a LEFT JOIN span s ON s.command_id = a.id
    )
    -- Both at once is the same command come twice: its own events are what it conflicts with.
    SELECT c.n, (SELECT max(r.why) FROM refusal r WHERE r.n = c.n), s.first
    FROM c LEFT JOIN span s ON s.command_id = c.id ORDER BY c.n;
END $$;
