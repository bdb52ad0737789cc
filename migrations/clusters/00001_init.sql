-- +goose Up
-- Identifies this system on its targets; the other services read it from here through the internal listener.
CREATE TABLE clusters.installation (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO clusters.installation DEFAULT VALUES;

CREATE TABLE clusters.clusters (
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
CREATE INDEX clusters_labels ON clusters.clusters USING gin (labels);

-- Kubeconfigs, sealed; the key id names the key of the service's key set that can open the value.
CREATE TABLE clusters.kubeconfigs (
    cluster_uid uuid PRIMARY KEY REFERENCES clusters.clusters (uid) ON DELETE CASCADE,
    version     bigint NOT NULL,
    key_id      text   NOT NULL,
    sealed      bytea  NOT NULL
);

-- The last 10 generations of each document, as they were written.
CREATE TABLE clusters.revisions (
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

CREATE SEQUENCE clusters.resource_version;

-- Committed changes on their way into the log; emptied by the relay. The identity's cache must stay 1: per object, a later
-- write then has the larger id.
CREATE TABLE clusters.outbox (
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
CREATE TABLE clusters.events (
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
CREATE INDEX events_resource ON clusters.events (resource, revision);

-- One row: where the log stands, and whose log it is.
CREATE TABLE clusters.relay (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch         text   NOT NULL DEFAULT '',
    fingerprint   text   NOT NULL DEFAULT '',
    last_rev      bigint NOT NULL DEFAULT 0,
    published_rev bigint NOT NULL DEFAULT 0,
    compacted_rev bigint NOT NULL DEFAULT 0
);
INSERT INTO clusters.relay DEFAULT VALUES;

CREATE TABLE clusters.relay_resources (
    resource text PRIMARY KEY,
    last_rev bigint NOT NULL
);

-- Partitions hold a million revisions each. A service's role may not create tables, so it makes and drops them through these two.
-- +goose StatementBegin
CREATE FUNCTION clusters.ensure_event_partition(at bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     bigint := at / 1000000;
    child text   := format('events_p%s', n);
BEGIN
    IF at < 0 OR to_regclass(format('clusters.%I', child)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS clusters.%I PARTITION OF clusters.events FOR VALUES FROM (%s) TO (%s)',
        child, n * 1000000, (n + 1) * 1000000);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION clusters.drop_event_partition(n bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE clusters.relay SET compacted_rev = greatest(compacted_rev, (n + 1) * 1000000 - 1)
        WHERE one AND published_rev >= (n + 1) * 1000000 - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % still holds revisions that are not published', n;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS clusters.%I', format('events_p%s', n));
END
$$;
-- +goose StatementEnd

SELECT clusters.ensure_event_partition(0);

-- +goose Down
DROP TABLE clusters.relay_resources, clusters.relay, clusters.events, clusters.outbox;
DROP FUNCTION clusters.ensure_event_partition(bigint);
DROP FUNCTION clusters.drop_event_partition(bigint);
DROP SEQUENCE clusters.resource_version;
DROP TABLE clusters.revisions, clusters.kubeconfigs, clusters.clusters, clusters.installation;
