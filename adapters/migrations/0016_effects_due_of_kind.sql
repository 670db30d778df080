-- Each kind of effect is claimed by itself, so that a thousand mails are not looked through for one payment.
CREATE INDEX effects_due_of_kind ON effects (kind, due_at, number) WHERE state = 'waiting';
DROP INDEX effects_due;
