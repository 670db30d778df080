-- What is posted to webhook endpoints (see streams/deliveries.py). Events before `told_after` were there before anybody
-- posted, and are told only by a replay. Whoever plans has locked the one row.
CREATE TABLE webhook_planning (
    one_row     boolean     PRIMARY KEY DEFAULT true CHECK (one_row),
    position    bigint      NOT NULL DEFAULT 0,  -- the events of endpoints are known up to here
    told_after  bigint      NOT NULL
);
INSERT INTO webhook_planning (told_after) SELECT coalesce(max(notification_id), 0) FROM events;

CREATE TABLE webhook_recipients (
    endpoint_id uuid        PRIMARY KEY,
    state       text        NOT NULL CHECK (state IN ('ACTIVE', 'PAUSED', 'DISABLED')),
    types       text[]      NOT NULL,
    quiet_until timestamptz  -- it has asked to be left alone until then
);

-- The parts of the log that an endpoint is told, each in order; what is planned of one is up to `position`.
CREATE TABLE webhook_stretches (
    stretch_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id uuid        NOT NULL,
    replay      boolean     NOT NULL,
    types       text[]      NOT NULL,
    position    bigint      NOT NULL,
    until       bigint,
    moved_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_stretches_in_turn ON webhook_stretches (endpoint_id, replay, stretch_id);

-- One event for one endpoint. The words are those of the table `effects`.
CREATE TABLE webhook_deliveries (
    stretch_id  bigint      NOT NULL,
    position    bigint      NOT NULL,
    endpoint_id uuid        NOT NULL,
    event_id    uuid        NOT NULL,
    event_type  text        NOT NULL,
    subject_id  uuid        NOT NULL,  -- the event's aggregate, and its version after it
    version     integer     NOT NULL,
    number      bigint      GENERATED ALWAYS AS IDENTITY,  -- in this order for one endpoint and subject
    state       text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'given_up')),
    planned_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_until timestamptz,
    give_up_at  timestamptz,  -- counts from the first attempt
    attempts    integer     NOT NULL DEFAULT 0,
    last_status integer,
    last_error  text        NOT NULL DEFAULT '',
    ended_at    timestamptz,
    PRIMARY KEY (stretch_id, position)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at, number) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_in_turn ON webhook_deliveries (endpoint_id, subject_id, number)
    WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (endpoint_id, state, number);
CREATE INDEX webhook_deliveries_given_up ON webhook_deliveries (number) WHERE state = 'given_up';
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE state <> 'waiting';
