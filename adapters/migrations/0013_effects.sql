-- What is to be done in the world, once per event: written in the transaction of the position of who plans it, so
-- neither a replay nor a rebuild can plan it again. Whoever does one has claimed it; a claim that is over is anybody's.
CREATE TABLE effects (
    event_id    uuid        NOT NULL,
    effect      text        NOT NULL,
    subject_id  uuid        NOT NULL,
    number      bigint      GENERATED ALWAYS AS IDENTITY,  -- in this order for one kind and subject
    kind        text        NOT NULL GENERATED ALWAYS AS (split_part(effect, '.', 1)) STORED,
    state       text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'given_up')),
    planned_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz NOT NULL,
    claimed_until timestamptz,
    give_up_at  timestamptz,
    attempts    integer     NOT NULL DEFAULT 0,
    last_error  text        NOT NULL DEFAULT '',
    ended_at    timestamptz,
    PRIMARY KEY (event_id, effect)
);
CREATE INDEX effects_due ON effects (due_at, number) WHERE state = 'waiting';
CREATE INDEX effects_in_turn ON effects (kind, subject_id, number) WHERE state = 'waiting';
CREATE INDEX effects_given_up ON effects (number) WHERE state = 'given_up';

-- Whether providers are thought to answer, as the worker that called last has seen it.
CREATE TABLE breakers (
    kind        text        PRIMARY KEY,
    state       text        NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
    reason      text        NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
