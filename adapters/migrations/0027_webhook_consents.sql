-- Which address of an endpoint has agreed to receive posts; another address of the same endpoint is asked again.
CREATE TABLE webhook_consents (
    endpoint_id  uuid        PRIMARY KEY REFERENCES webhook_secrets ON DELETE CASCADE,
    url_digest   bytea       NOT NULL,
    given_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
