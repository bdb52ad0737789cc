-- +goose Up
-- Documents hold no values: those of a secret are sealed in secret_values.
CREATE TABLE syncsets.secrets (
    uid                   uuid PRIMARY KEY,
    namespace             text        NOT NULL,
    name                  text        NOT NULL,
    generation            bigint      NOT NULL,
    resource_version      bigint      NOT NULL,
    labels                text[]      NOT NULL DEFAULT '{}', -- 'k=v' and 'k' of each label, for selectors
    document              jsonb       NOT NULL,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    UNIQUE (namespace, name)
);
CREATE INDEX secrets_labels ON syncsets.secrets USING gin (labels);

-- Values, sealed; the key id names the key of the service's key set that can open them.
CREATE TABLE syncsets.secret_values (
    secret_uid uuid PRIMARY KEY REFERENCES syncsets.secrets (uid) ON DELETE CASCADE,
    version    bigint NOT NULL,
    key_id     text   NOT NULL,
    sealed     bytea  NOT NULL
);

-- +goose Down
DELETE FROM syncsets.revisions WHERE resource = 'secrets';
DROP TABLE syncsets.secret_values, syncsets.secrets;
