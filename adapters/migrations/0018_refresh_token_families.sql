-- Every refresh token that a session has had before the one in `previous_digest`: using any of them again means that a
-- copy is out. They go with their session.
CREATE TABLE earlier_refresh_tokens (
    token_digest  bytea  PRIMARY KEY,
    session_id    uuid   NOT NULL REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX earlier_refresh_tokens_by_session ON earlier_refresh_tokens (session_id);
