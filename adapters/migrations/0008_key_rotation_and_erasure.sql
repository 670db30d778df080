-- An erased person keeps a row without a key: no new key is ever made for them.
ALTER TABLE person_keys ALTER COLUMN wrapped_key DROP NOT NULL;
ALTER TABLE person_keys ADD COLUMN destroyed_at timestamptz;

-- Keys that must outlive a change of the master key, because stored ids and digests depend on them.
CREATE TABLE stable_keys (
    name         text   PRIMARY KEY,
    wrapped_key  bytea  NOT NULL
);
