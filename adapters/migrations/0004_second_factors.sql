-- Second factors. The secret is sealed with the person's key; codes are used once: `last_step` is the newest time step
-- whose code was taken, and a recovery code is removed when it is used.
CREATE TABLE mfa (
    user_id           uuid        PRIMARY KEY,
    secret_sealed     text        NOT NULL,
    last_step         bigint      NOT NULL DEFAULT 0,
    recovery_digests  text[]      NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
