-- Tokens of the links in mails, kept only as digests. One is for the address it was mailed to, named by its claim, and
-- may be taken by one command.
CREATE TABLE account_tokens (
    token_digest  bytea        PRIMARY KEY,
    user_id       uuid         NOT NULL,
    purpose       text         NOT NULL,
    address_id    uuid         NOT NULL,
    made_at       timestamptz  NOT NULL,
    expires_at    timestamptz  NOT NULL,
    taken_by      uuid
);
CREATE INDEX account_tokens_by_user ON account_tokens (user_id);
