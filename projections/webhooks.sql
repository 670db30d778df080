CREATE TABLE IF NOT EXISTS webhooks_v1 (
    id          uuid        PRIMARY KEY,
    owner_id    uuid        NOT NULL,
    url         text        NOT NULL,
    types       text[]      NOT NULL,
    state       text        NOT NULL,
    created_at  timestamptz NOT NULL,
    version     bigint      NOT NULL,
    position    bigint      NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS webhooks_v1_by_owner ON webhooks_v1 (owner_id, created_at, id) WHERE state <> 'REMOVED';
CREATE INDEX IF NOT EXISTS webhooks_v1_by_position ON webhooks_v1 (position);
