-- Finds the effects that were done longest ago, whose rows are deleted (see adapters/effects_ledger.py).
CREATE INDEX effects_done ON effects (ended_at) WHERE state = 'done';
