-- +goose Up
-- The installation this schema belongs to, read once from the clusters service.
CREATE TABLE syncsets.installation (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    id            uuid        NOT NULL,
    remembered_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE syncsets.syncsets (
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
CREATE INDEX syncsets_labels ON syncsets.syncsets USING gin (labels);

CREATE TABLE syncsets.selectorsyncsets (
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
CREATE INDEX selectorsyncsets_labels ON syncsets.selectorsyncsets USING gin (labels);

-- The last 10 generations of each document, as they were written.
CREATE TABLE syncsets.revisions (
    uid              uuid        NOT NULL,
    generation       bigint      NOT NULL,
    resource         text        NOT NULL,
    resource_version bigint      NOT NULL,
    document         jsonb       NOT NULL,
    actor            text        NOT NULL,
    reason           text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (uid, generation)
);

CREATE SEQUENCE syncsets.resource_version;

-- Committed changes on their way into the log; emptied by the relay. The identity's cache must stay 1: per object, a later
-- write then has the larger id.
CREATE TABLE syncsets.outbox (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resource         text        NOT NULL,
    operation        text        NOT NULL CHECK (operation IN ('created', 'updated', 'deleted')),
    uid              uuid        NOT NULL,
    namespace        text        NOT NULL,
    name             text        NOT NULL,
    generation       bigint      NOT NULL,
    resource_version bigint      NOT NULL,
    document         jsonb       NOT NULL,
    size             integer     NOT NULL, -- of the document, in bytes, as it was written
    previous_labels  jsonb,
    options          jsonb,
    actor            text        NOT NULL,
    traceparent      text        NOT NULL DEFAULT '',
    tracestate       text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- The log: dense, in commit order; previous is the revision before this one of the same resource.
CREATE TABLE syncsets.events (
    revision         bigint      NOT NULL,
    previous         bigint      NOT NULL,
    resource         text        NOT NULL,
    operation        text        NOT NULL,
    uid              uuid        NOT NULL,
    namespace        text        NOT NULL,
    name             text        NOT NULL,
    generation       bigint      NOT NULL,
    resource_version bigint      NOT NULL,
    document         jsonb       NOT NULL,
    size             integer     NOT NULL,
    previous_labels  jsonb,
    options          jsonb,
    actor            text        NOT NULL,
    traceparent      text        NOT NULL,
    tracestate       text        NOT NULL,
    created_at       timestamptz NOT NULL,
    set_aside        text, -- why it was never published, null for the others
    PRIMARY KEY (revision)
) PARTITION BY RANGE (revision);
CREATE INDEX events_resource ON syncsets.events (resource, revision);

-- One row: where the log stands, and whose log it is.
CREATE TABLE syncsets.relay (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch         text   NOT NULL DEFAULT '',
    fingerprint   text   NOT NULL DEFAULT '',
    last_rev      bigint NOT NULL DEFAULT 0,
    published_rev bigint NOT NULL DEFAULT 0,
    compacted_rev bigint NOT NULL DEFAULT 0
);
INSERT INTO syncsets.relay DEFAULT VALUES;

CREATE TABLE syncsets.relay_resources (
    resource text PRIMARY KEY,
    last_rev bigint NOT NULL
);

-- Partitions hold a million revisions each. A service's role may not create tables, so it makes and drops them through these two.
-- +goose StatementBegin
CREATE FUNCTION syncsets.ensure_event_partition(at bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     bigint := at / 1000000;
    child text   := format('events_p%s', n);
BEGIN
    IF at < 0 OR to_regclass(format('syncsets.%I', child)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS syncsets.%I PARTITION OF syncsets.events FOR VALUES FROM (%s) TO (%s)',
        child, n * 1000000, (n + 1) * 1000000);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION syncsets.drop_event_partition(n bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE syncsets.relay SET compacted_rev = greatest(compacted_rev, (n + 1) * 1000000 - 1)
        WHERE one AND published_rev >= (n + 1) * 1000000 - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % still holds revisions that are not published', n;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS syncsets.%I', format('events_p%s', n));
END
$$;
-- +goose StatementEnd

SELECT syncsets.ensure_event_partition(0);

-- +goose Down
DROP TABLE syncsets.relay_resources, syncsets.relay, syncsets.events, syncsets.outbox;
DROP FUNCTION syncsets.ensure_event_partition(bigint);
DROP FUNCTION syncsets.drop_event_partition(bigint);
DROP SEQUENCE syncsets.resource_version;
DROP TABLE syncsets.revisions, syncsets.selectorsyncsets, syncsets.syncsets, syncsets.installation;
