-- The log. The first five columns are the table layout of the eventsourcing library, so that its Application
-- and recorders run on it; the others are metadata it does not have.
CREATE TABLE events (
    originator_id       uuid        NOT NULL,
    originator_version  bigint      NOT NULL,
    topic               text        NOT NULL,  -- the event type, for ever: order.placed
    state               bytea       NOT NULL,  -- plain JSON
    notification_id     bigserial   NOT NULL,  -- the position: commit order, see append_events
    schema_version      smallint    NOT NULL DEFAULT 1,
    context             text        NOT NULL,  -- the Kafka topic without its prefix
    shard               smallint    NOT NULL,  -- the Kafka partition
    command_id          uuid        NOT NULL,
    correlation_id      uuid        NOT NULL,
    causation_id        uuid,
    actor               text        NOT NULL,
    recorded_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    -- Append-only: no dead rows, but index-only scans and wrap-around protection need the visibility map kept fresh.
    autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02
);
CREATE UNIQUE INDEX events_by_position ON events (notification_id);
-- The refill of a gap reads one shard of one context from a position on.
CREATE INDEX events_by_shard ON events (context, shard, notification_id);

-- What was executed, kept with its events; a command id that is here is never executed again.
CREATE TABLE commands (
    command_id      uuid        PRIMARY KEY,
    name            text        NOT NULL,
    actor           text        NOT NULL,
    request_digest  bytea       NOT NULL,
    result          jsonb       NOT NULL,
    first_position  bigint,               -- its events stand together: first to last
    last_position   bigint,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The log as analysts read it.
CREATE VIEW event_log AS
SELECT notification_id AS position, topic AS event_type, schema_version, split_part(topic, '.', 1) AS aggregate_type,
       originator_id AS aggregate_id, originator_version AS version, recorded_at, actor,
       command_id, correlation_id, causation_id, context, shard, convert_from(state, 'UTF8')::jsonb AS data
FROM events;

-- Appends many commands' events in one transaction under one lock. The lock is what makes position order equal
-- commit order, so that a reader who has seen position n will never be shown a smaller one: it is taken before
-- any position is drawn, and held until the commit. Being a statement after the lock, the query sees
-- everything committed before it.
-- Each command stands or falls alone: `refused` is null, 'repeated' (its id is stored) or 'conflict' (a stream is
-- not at the expected version). Events are numbered (`e_command`) by their command's place in the arrays, from 1.
CREATE FUNCTION append_events(
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
        SELECT DISTINCT f.n, 'conflict' FROM (SELECT e.n, e.id, min(e.version) AS first FROM e GROUP BY e.n, e.id) f
        WHERE f.first <> 1 + coalesce(
            (SELECT max(h.originator_version) FROM events h WHERE h.originator_id = f.id), 0)
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
