-- One key per person, wrapped by the master key; without its row the person's sealed data is unreadable for ever.
CREATE TABLE person_keys (
    person_id    uuid        PRIMARY KEY,
    wrapped_key  bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE credentials (
    user_id        uuid        PRIMARY KEY,
    password_hash  text        NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Refresh tokens are kept only as digests. The previous one stays known, so that its reuse can be told.
CREATE TABLE sessions (
    session_id       uuid        PRIMARY KEY,
    user_id          uuid        NOT NULL,
    token_digest     bytea       NOT NULL UNIQUE,
    previous_digest  bytea       UNIQUE,
    user_agent       text        NOT NULL,
    created_at       timestamptz NOT NULL,
    last_used_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    revoked_at       timestamptz
);
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Short numbers for people; rolled back commands leave holes, which is fine.
CREATE SEQUENCE order_numbers START 100001;
