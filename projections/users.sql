CREATE TABLE IF NOT EXISTS users_v1 (
    id            uuid        PRIMARY KEY,
    email_sealed  text        NOT NULL,
    name_sealed   text        NOT NULL,
    roles         text[]      NOT NULL,
    created_at    timestamptz NOT NULL,
    mfa_enabled   boolean     NOT NULL DEFAULT false,
    version       bigint      NOT NULL,
    position      bigint      NOT NULL
) WITH (fillfactor = 80);
-- A table made before there were second factors: nobody had one.
ALTER TABLE users_v1 ADD COLUMN IF NOT EXISTS mfa_enabled boolean NOT NULL DEFAULT false;
-- Pages of all accounts, newest first; id breaks ties.
CREATE INDEX IF NOT EXISTS users_v1_by_created ON users_v1 (created_at, id);
CREATE INDEX IF NOT EXISTS users_v1_by_position ON users_v1 (position);
