-- Which role of the database each part of Kontor connects as, so that a later migration grants the same again (see
-- adapters/database_roles.py). `part`: api, worker, relay or analyst.
CREATE TABLE database_roles (
    part  text  PRIMARY KEY,
    role  name  NOT NULL
);
