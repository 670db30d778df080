-- What signs deliveries, wrapped by the master key; the secret before the last stays good until `previous_until`.
CREATE TABLE webhook_secrets (
    endpoint_id     uuid        PRIMARY KEY,
    wrapped_key     bytea       NOT NULL,
    previous_key    bytea,
    previous_until  timestamptz
);
