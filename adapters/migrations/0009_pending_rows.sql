-- One array of rows a batch instead of eighteen arrays of columns: a row is unpacked once, not once a column.
CREATE TYPE pending_event AS (
    aggregate_id uuid, version bigint, schema_version smallint, shard smallint, command_id uuid, correlation_id uuid,
    causation_id uuid, topic text, context text, actor text, state bytea
);
-- `place`: how many events of the batch stand before this command's.
CREATE TYPE pending_command AS (
    place int, events int, command_id uuid, name text, actor text, request_digest bytea, result jsonb
);

DROP FUNCTION append_events(uuid[], text[], text[], bytea[], text[], uuid[], uuid[],
                            int[], uuid[], bigint[], text[], bytea[], smallint[], text[], smallint[]);

-- Judges appends as before, each by itself. A command id stands at most once in a batch.
CREATE FUNCTION append_events(commands_given pending_command[], events_given pending_event[])
RETURNS TABLE (refused text, first_position bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7310110114111);
    PERFORM pg_notify('kontor_events', '');
    RETURN QUERY
    WITH c AS MATERIALIZED (
        SELECT * FROM unnest(commands_given) WITH ORDINALITY
            AS u (place, events, id, name, actor, digest, result, n)
    ), e AS MATERIALIZED (
        SELECT * FROM unnest(events_given) WITH ORDINALITY
            AS u (id, version, schema_version, shard, command_id, correlation_id, causation_id, topic, context, actor,
                  state, ord)
    ), refusal AS MATERIALIZED (
        SELECT c.id, 'repeated' AS why FROM c WHERE EXISTS (SELECT FROM commands k WHERE k.command_id = c.id)
        UNION ALL
        SELECT DISTINCT f.command_id, 'conflict' FROM (
            SELECT e.command_id, e.id, min(e.version) AS first, max(e.version) - min(e.version) + 1 AS span,
                   count(*) AS events, count(DISTINCT e.version) AS versions
            FROM e GROUP BY e.command_id, e.id
        ) f
        WHERE f.events <> f.span OR f.events <> f.versions OR f.first <> coalesce(
            1 + (SELECT max(h.originator_version) FROM events h WHERE h.originator_id = f.id), CASE f.first WHEN 0 THEN 0 ELSE 1 END)
    ), stored AS (
        INSERT INTO events (originator_id, originator_version, schema_version, shard, command_id, correlation_id,
                            causation_id, topic, context, actor, state)
        SELECT e.id, e.version, e.schema_version, e.shard, e.command_id, e.correlation_id,
               e.causation_id, e.topic, e.context, e.actor, e.state
        FROM e WHERE NOT EXISTS (SELECT FROM refusal r WHERE r.id = e.command_id) ORDER BY e.ord
        RETURNING events.command_id, events.notification_id
    ), span AS (
        SELECT s.command_id, min(s.notification_id) AS first, max(s.notification_id) AS last
        FROM stored s GROUP BY s.command_id
    ), kept AS (
        INSERT INTO commands (command_id, name, actor, request_digest, result, first_position, last_position)
        SELECT c.id, c.name, c.actor, c.digest, c.result, s.first, s.last
        FROM c LEFT JOIN span s ON s.command_id = c.id
        WHERE NOT EXISTS (SELECT FROM refusal r WHERE r.id = c.id)
    )
    -- Both at once is the same command come twice: its own events are what it conflicts with.
    SELECT (SELECT max(r.why) FROM refusal r WHERE r.id = c.id), s.first
    FROM c LEFT JOIN span s ON s.command_id = c.id ORDER BY c.n;
END $$;
