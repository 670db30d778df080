CREATE TABLE IF NOT EXISTS categories_v1 (
    id           uuid    PRIMARY KEY,
    name         text    NOT NULL,
    slug         text    NOT NULL,
    description  text    NOT NULL,
    parent_id    uuid,
    removed      boolean NOT NULL,
    version      bigint  NOT NULL,
    position     bigint  NOT NULL
) WITH (fillfactor = 80);
-- Not unique: a removed category and its slug's next owner may be applied in either order, being in other shards.
CREATE INDEX IF NOT EXISTS categories_v1_by_slug ON categories_v1 (slug) WHERE NOT removed;
CREATE INDEX IF NOT EXISTS categories_v1_by_position ON categories_v1 (position);
