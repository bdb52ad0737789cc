-- +goose Up
-- What a verification compares with, what the target says of an object's health, and who changed it behind our back.
ALTER TABLE reconciler.inventory
    ADD COLUMN fields         bytea, -- digest of our entries in managedFields after the last apply
    ADD COLUMN health         text        NOT NULL DEFAULT '',
    ADD COLUMN health_message text        NOT NULL DEFAULT '',
    ADD COLUMN drifts         int         NOT NULL DEFAULT 0, -- how often it was found changed and healed
    ADD COLUMN drifted_at     timestamptz,
    ADD COLUMN drifted_by     text        NOT NULL DEFAULT ''; -- field manager that was seen to have changed it last
ALTER TABLE reconciler.archived_inventory
    ADD COLUMN fields         bytea,
    ADD COLUMN health         text        NOT NULL DEFAULT '',
    ADD COLUMN health_message text        NOT NULL DEFAULT '',
    ADD COLUMN drifts         int         NOT NULL DEFAULT 0,
    ADD COLUMN drifted_at     timestamptz,
    ADD COLUMN drifted_by     text        NOT NULL DEFAULT '';

ALTER TABLE reconciler.cluster_sets
    ADD COLUMN health  text  NOT NULL DEFAULT '',
    ADD COLUMN patches jsonb NOT NULL DEFAULT '[]', -- per patch of the set what was sent last, and what the target was then
    ADD COLUMN cluster_namespace text NOT NULL DEFAULT '', -- the cluster's, which never change: lists of a set's clusters are in their order
    ADD COLUMN cluster_name      text NOT NULL DEFAULT '';
UPDATE reconciler.cluster_sets t SET cluster_namespace = c.namespace, cluster_name = c.name FROM reconciler.clusters c
WHERE c.uid = t.cluster_uid;
-- Which clusters fail for a set, and which fail at all: a page is one range of an index.
DROP INDEX reconciler.cluster_sets_set;
CREATE INDEX cluster_sets_set ON reconciler.cluster_sets (set_uid, result, cluster_namespace, cluster_name, cluster_uid);
CREATE INDEX cluster_sets_unlike_success ON reconciler.cluster_sets (cluster_uid) WHERE result <> 'Success';
CREATE INDEX cluster_sets_trouble ON reconciler.cluster_sets (result, cluster_namespace, cluster_name, cluster_uid) WHERE result <> 'Success';

-- When what was applied is compared with the target, and when objects in progress are looked at again.
ALTER TABLE reconciler.work
    ADD COLUMN verify_at       timestamptz NOT NULL DEFAULT now() + interval '15 minutes' * random(),
    ADD COLUMN health_at       timestamptz,
    ADD COLUMN health_attempts int         NOT NULL DEFAULT 0;

ALTER TABLE reconciler.clustersyncs
    ADD COLUMN health      text NOT NULL DEFAULT '',
    ADD COLUMN run_seconds float8; -- how long the last run took
CREATE INDEX clustersyncs_reachable ON reconciler.clustersyncs (reachable);
CREATE INDEX clustersyncs_slow ON reconciler.clustersyncs (run_seconds);

-- A cluster that is to be cleaned up matches no set any more; once nothing is left of us on its target it goes.
ALTER TABLE reconciler.clusters ADD COLUMN leaving boolean GENERATED ALWAYS AS (document ? 'deletionRequestedAt') STORED;
CREATE INDEX clusters_leaving ON reconciler.clusters (uid) WHERE leaving;

-- Whether what the set's objects are called depends on the cluster: then a cluster's relabelling may leave some behind.
ALTER TABLE reconciler.sets ADD COLUMN names_vary boolean NOT NULL DEFAULT false;

-- Projection of the secrets service's documents, without values.
CREATE TABLE reconciler.secrets (
    uid              uuid PRIMARY KEY,
    namespace        text   NOT NULL,
    name             text   NOT NULL,
    generation       bigint NOT NULL,
    resource_version bigint NOT NULL,
    labels           text[] NOT NULL DEFAULT '{}',
    document         jsonb  NOT NULL
);
CREATE INDEX secrets_name ON reconciler.secrets (namespace, name);

-- Values fetched from the syncsets service, sealed with this service's own keys. wanted is the version that the document names.
CREATE TABLE reconciler.secret_data (
    secret_uid uuid PRIMARY KEY REFERENCES reconciler.secrets (uid) ON DELETE CASCADE,
    wanted     bigint NOT NULL,
    version    bigint NOT NULL DEFAULT 0,
    key_id     text   NOT NULL DEFAULT '',
    sealed     bytea,
    attempts   int         NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX secret_data_wanted ON reconciler.secret_data (next_at) WHERE wanted > version;

-- Which sets copy which secrets, by the newest document of each set.
CREATE TABLE reconciler.set_secrets (
    set_uid   uuid NOT NULL REFERENCES reconciler.sets (uid) ON DELETE CASCADE,
    namespace text NOT NULL,
    name      text NOT NULL,
    PRIMARY KEY (set_uid, namespace, name)
);
CREATE INDEX set_secrets_name ON reconciler.set_secrets (namespace, name);

-- Totals of each set over its clusters, counted by one aggregator.
CREATE TABLE reconciler.setsyncs (
    set_uid          uuid PRIMARY KEY REFERENCES reconciler.sets (uid) ON DELETE CASCADE,
    resource_version bigint      NOT NULL DEFAULT nextval('reconciler.resource_version'),
    status           jsonb       NOT NULL DEFAULT '{}',
    counted_at       timestamptz NOT NULL,
    next_at          timestamptz NOT NULL -- not counted again before
);

-- Appended by whoever changes a row of cluster_sets; the aggregator takes them all away at once. Never merged, so that settling runs do
-- not wait for each other.
CREATE TABLE reconciler.dirty_sets (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    set_uid uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX dirty_sets_set ON reconciler.dirty_sets (set_uid);

-- +goose Down
DROP TABLE reconciler.dirty_sets, reconciler.setsyncs, reconciler.set_secrets, reconciler.secret_data, reconciler.secrets;
DROP INDEX reconciler.clustersyncs_reachable, reconciler.clustersyncs_slow, reconciler.clusters_leaving;
ALTER TABLE reconciler.clustersyncs DROP COLUMN health, DROP COLUMN run_seconds;
ALTER TABLE reconciler.clusters DROP COLUMN leaving;
ALTER TABLE reconciler.sets DROP COLUMN names_vary;
ALTER TABLE reconciler.work DROP COLUMN verify_at, DROP COLUMN health_at, DROP COLUMN health_attempts;
DROP INDEX reconciler.cluster_sets_set, reconciler.cluster_sets_unlike_success, reconciler.cluster_sets_trouble;
ALTER TABLE reconciler.cluster_sets DROP COLUMN health, DROP COLUMN patches, DROP COLUMN cluster_namespace, DROP COLUMN cluster_name;
CREATE INDEX cluster_sets_set ON reconciler.cluster_sets (set_uid, result, cluster_uid);
ALTER TABLE reconciler.archived_inventory DROP COLUMN fields, DROP COLUMN health, DROP COLUMN health_message, DROP COLUMN drifts,
    DROP COLUMN drifted_at, DROP COLUMN drifted_by;
ALTER TABLE reconciler.inventory DROP COLUMN fields, DROP COLUMN health, DROP COLUMN health_message, DROP COLUMN drifts,
    DROP COLUMN drifted_at, DROP COLUMN drifted_by;
