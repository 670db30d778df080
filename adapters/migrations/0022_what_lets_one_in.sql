-- What lets a person in changes in the transaction of the event that says so. A command writes the new password hash
-- or second factor beside, under its own id; with the command's event it becomes the one that is good. A process that
-- dies before leaves a row that opens nothing; after, nothing is left to do.

-- Goes up with every such change. A session is opened only while it is the one under which the password was verified.
ALTER TABLE credentials ADD COLUMN generation bigint NOT NULL DEFAULT 0;

CREATE TABLE staged_passwords (
    command_id     uuid        PRIMARY KEY,
    user_id        uuid        NOT NULL,
    password_hash  text        NOT NULL,
    staged_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX staged_passwords_by_user ON staged_passwords (user_id);

-- Second factors that were asked for and are not confirmed: nothing asks for their codes.
CREATE TABLE prepared_factors (
    user_id           uuid        PRIMARY KEY,
    secret_sealed     text        NOT NULL,
    last_step         bigint      NOT NULL DEFAULT 0,
    recovery_digests  text[]      NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The one that a code has confirmed, whatever is prepared meanwhile.
CREATE TABLE staged_factors (
    command_id        uuid        PRIMARY KEY,
    user_id           uuid        NOT NULL,
    secret_sealed     text        NOT NULL,
    last_step         bigint      NOT NULL,
    recovery_digests  text[]      NOT NULL,
    staged_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX staged_factors_by_user ON staged_factors (user_id);

-- Locks the credentials first: who opens a session holds them, so that session is committed and ends below, or its
-- opener waits and finds another generation. Each statement sees what was committed before it.
CREATE FUNCTION apply_account_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    person  uuid := NEW.originator_id;
    said    jsonb;
BEGIN
    UPDATE credentials SET generation = generation + 1 WHERE user_id = person;
    CASE NEW.topic
    WHEN 'user.password_changed' THEN
        INSERT INTO credentials (user_id, password_hash)
        SELECT person, password_hash FROM staged_passwords WHERE command_id = NEW.command_id AND user_id = person
        ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, updated_at = clock_timestamp();
        IF NOT FOUND THEN
            -- The old one is good no more, and nobody has said which is.
            DELETE FROM credentials WHERE user_id = person;
        END IF;
        DELETE FROM staged_passwords WHERE command_id = NEW.command_id;
        DELETE FROM account_tokens WHERE user_id = person AND purpose IN ('password_reset', 'email_change');
    WHEN 'user.sessions_revoked' THEN
        said := convert_from(NEW.state, 'UTF8')::jsonb;
        IF NEW.schema_version < 2 THEN
            NULL;  -- of an earlier release, which ends the sessions itself
        ELSIF jsonb_typeof(said -> 'session_ids') = 'array' THEN
            UPDATE sessions SET revoked_at = clock_timestamp()
            WHERE user_id = person AND revoked_at IS NULL
              AND session_id IN (SELECT each::uuid FROM jsonb_array_elements_text(said -> 'session_ids') AS each);
        ELSE
            UPDATE sessions SET revoked_at = clock_timestamp()
            WHERE user_id = person AND revoked_at IS NULL
              AND session_id IS DISTINCT FROM (said ->> 'kept')::uuid;
        END IF;
    WHEN 'user.mfa_enabled' THEN
        INSERT INTO mfa (user_id, secret_sealed, last_step, recovery_digests)
        SELECT person, secret_sealed, last_step, recovery_digests FROM staged_factors
        WHERE command_id = NEW.command_id AND user_id = person
        ON CONFLICT (user_id) DO UPDATE SET secret_sealed = excluded.secret_sealed, last_step = excluded.last_step,
            recovery_digests = excluded.recovery_digests, created_at = clock_timestamp();
        DELETE FROM staged_factors WHERE user_id = person;
        DELETE FROM prepared_factors WHERE user_id = person;
    WHEN 'user.mfa_disabled' THEN
        DELETE FROM mfa WHERE user_id = person;
        DELETE FROM prepared_factors WHERE user_id = person;
    WHEN 'user.email_changed' THEN
        -- The link that has changed it may be followed again, and changes nothing then.
        DELETE FROM account_tokens WHERE user_id = person AND purpose IN ('password_reset', 'email_verification');
    WHEN 'user.email_change_undone' THEN
        DELETE FROM account_tokens
        WHERE user_id = person AND purpose IN ('password_reset', 'email_change', 'email_verification');
    WHEN 'user.erased' THEN
        DELETE FROM credentials WHERE user_id = person;
        DELETE FROM sessions WHERE user_id = person;
        DELETE FROM mfa WHERE user_id = person;
        DELETE FROM account_tokens WHERE user_id = person;
        DELETE FROM staged_passwords WHERE user_id = person;
        DELETE FROM staged_factors WHERE user_id = person;
        DELETE FROM prepared_factors WHERE user_id = person;
    END CASE;
    RETURN NULL;
END $$;

CREATE TRIGGER account_event AFTER INSERT ON events FOR EACH ROW
WHEN (NEW.context = 'users' AND NEW.topic IN (
    'user.password_changed', 'user.sessions_revoked', 'user.mfa_enabled', 'user.mfa_disabled',
    'user.email_changed', 'user.email_change_undone', 'user.erased'))
EXECUTE FUNCTION apply_account_event();
