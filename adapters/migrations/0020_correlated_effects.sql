-- The correlation of the event that has called for the effect: what is recorded of it has it, too. Effects that were
-- planned before have none, and what is recorded of them correlates with itself.
ALTER TABLE effects ADD COLUMN correlation_id uuid;
