-- Rows of views as they were at some version, kept by whoever folded them, so that the next fold begins there. All of it
-- follows from the log: deleting it costs time and nothing else.
CREATE TABLE past_rows (
    view text NOT NULL,
    aggregate_id uuid NOT NULL,
    version bigint NOT NULL,
    shape text NOT NULL, -- of the code that made it; no other reads it
    state jsonb NOT NULL,
    PRIMARY KEY (view, aggregate_id, version)
);

-- Which mails a mailbox was sent lately, by what limits them. `mailbox` is a keyed digest of the address.
CREATE TABLE mailbox_mails (
    mailbox text NOT NULL,
    kind text NOT NULL,
    effect_id uuid NOT NULL,
    counted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (mailbox, kind, effect_id)
);
CREATE INDEX mailbox_mails_age ON mailbox_mails (counted_at);
