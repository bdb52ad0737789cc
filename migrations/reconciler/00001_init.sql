-- +goose Up
CREATE SEQUENCE reconciler.resource_version;

-- The installation this schema belongs to, read once from the clusters service.
CREATE TABLE reconciler.installation (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    id            uuid        NOT NULL,
    remembered_at timestamptz NOT NULL DEFAULT now()
);

-- The planner's lock and cursors. One planner transaction at a time: each begins with SELECT ... FROM reconciler.planner FOR UPDATE.
CREATE TABLE reconciler.planner (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    clusters_epoch text        NOT NULL DEFAULT '',
    clusters_rev   bigint      NOT NULL DEFAULT 0,
    syncsets_epoch text        NOT NULL DEFAULT '',
    syncsets_rev   bigint      NOT NULL DEFAULT 0,
    resynced_at    timestamptz,
    paused_at      timestamptz,
    paused_by      text        NOT NULL DEFAULT '',
    pause_reason   text        NOT NULL DEFAULT ''
);
INSERT INTO reconciler.planner DEFAULT VALUES;

-- Documents of a list while a resync reads it page by page; one resync per source at a time.
CREATE UNLOGGED TABLE reconciler.staged (
    source           text   NOT NULL,
    uid              uuid   NOT NULL,
    resource         text   NOT NULL,
    generation       bigint NOT NULL,
    resource_version bigint NOT NULL,
    document         jsonb  NOT NULL,
    PRIMARY KEY (source, uid)
);

-- Projection of the clusters service's documents.
CREATE TABLE reconciler.clusters (
    uid                   uuid PRIMARY KEY,
    namespace             text   NOT NULL,
    name                  text   NOT NULL,
    generation            bigint NOT NULL,
    resource_version      bigint NOT NULL,
    labels                text[] NOT NULL DEFAULT '{}',
    document              jsonb  NOT NULL
);
CREATE INDEX clusters_name ON reconciler.clusters (namespace, name);
CREATE INDEX clusters_labels ON reconciler.clusters USING gin (labels);

-- Kubeconfigs fetched from the clusters service, sealed with this service's own keys. wanted is the version the document names.
CREATE TABLE reconciler.credentials (
    cluster_uid uuid PRIMARY KEY REFERENCES reconciler.clusters (uid) ON DELETE CASCADE,
    wanted      bigint NOT NULL,
    version     bigint NOT NULL DEFAULT 0,
    key_id      text   NOT NULL DEFAULT '',
    sealed      bytea,
    attempts    int         NOT NULL DEFAULT 0,
    next_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX credentials_wanted ON reconciler.credentials (next_at) WHERE wanted > version;

-- Projection of the sets: the newest of each, a tombstone (deleted_at) until nothing is left of it anywhere.
CREATE TABLE reconciler.sets (
    uid              uuid PRIMARY KEY,
    resource         text   NOT NULL CHECK (resource IN ('syncsets', 'selectorsyncsets')),
    namespace        text   NOT NULL,
    name             text   NOT NULL,
    generation       bigint NOT NULL,
    resource_version bigint NOT NULL,
    labels           text[] NOT NULL DEFAULT '{}',
    document         jsonb  NOT NULL,
    tracked_from     bigint, -- since which generation the set is on Sync without a break; null in Upsert. Older objects are never deleted
    deleted_at       timestamptz
);
CREATE INDEX sets_name ON reconciler.sets (resource, namespace, name);

-- Each generation of a set that a cluster may still be told to apply.
CREATE TABLE reconciler.set_generations (
    set_uid    uuid   NOT NULL REFERENCES reconciler.sets (uid) ON DELETE CASCADE,
    generation bigint NOT NULL,
    document   jsonb  NOT NULL,
    PRIMARY KEY (set_uid, generation)
);

-- Appended by the planner for each changed set, worked off in chunks, per set in id order; never merged. The targets are a selector
-- ({"matchLabels": ...}) or references ([{"name": ...}]), as the document has them; null where there is none.
CREATE TABLE reconciler.fanouts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    set_uid     uuid        NOT NULL,
    generation  bigint      NOT NULL,
    operation   text        NOT NULL CHECK (operation IN ('created', 'updated', 'deleted')),
    old_targets jsonb,
    new_targets jsonb,
    options     jsonb,
    actor       text        NOT NULL,
    traceparent text        NOT NULL DEFAULT '',
    tracestate  text        NOT NULL DEFAULT '',
    hold        boolean, -- decided once, before the first chunk: whether new removals of this change start held
    after_uid   uuid,    -- the last cluster done
    clusters    int         NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- One row per cluster, the unit of distribution. next_at is when an idle row is due, a queued one is offered again, a running
-- one's lease ends. want counts the reasons to run, done is the want that the last settled run had seen.
CREATE TABLE reconciler.work (
    cluster_uid uuid PRIMARY KEY,
    state       text        NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'queued', 'running')),
    class       smallint    NOT NULL DEFAULT 0, -- 0 edit or sync, 1 fan-out, 2 retry, 3 reapply
    next_at     timestamptz NOT NULL DEFAULT now(),
    want        bigint      NOT NULL DEFAULT 1,
    done        bigint      NOT NULL DEFAULT 0,
    fence       bigint      NOT NULL DEFAULT 0,
    takeover    boolean     NOT NULL DEFAULT false,
    full_apply  boolean     NOT NULL DEFAULT false,
    full_at     timestamptz NOT NULL DEFAULT now() + interval '2 hours' * random(), -- when everything is applied again
    attempts    int         NOT NULL DEFAULT 0, -- failed connections in a row
    holder      text        NOT NULL DEFAULT '',
    causes      jsonb       NOT NULL DEFAULT '[]', -- up to 8 traceparents
    since       timestamptz NOT NULL DEFAULT now(),
    queued_at   timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- What the dispatcher picks from: reachable clusters by class, the others apart with a small share of their own.
CREATE INDEX work_due ON reconciler.work (class, next_at) WHERE attempts = 0;
CREATE INDEX work_unreachable ON reconciler.work (next_at) WHERE attempts > 0;
CREATE INDEX work_active ON reconciler.work (state, attempts) WHERE state <> 'idle';

-- Live workers and their slots, by heartbeat.
CREATE TABLE reconciler.workers (
    holder  text PRIMARY KEY,
    slots   int         NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- What is known of a cluster's target. One row per cluster.
CREATE TABLE reconciler.clustersyncs (
    cluster_uid        uuid PRIMARY KEY,
    resource_version   bigint      NOT NULL DEFAULT nextval('reconciler.resource_version'),
    target_id          text        NOT NULL DEFAULT '', -- uid of the target's kube-system namespace
    reachable          text        NOT NULL DEFAULT 'Unknown',
    reason             text        NOT NULL DEFAULT 'WaitingForKubeconfig',
    message            text        NOT NULL DEFAULT '',
    changed_at         timestamptz NOT NULL DEFAULT now(),
    kubernetes_version text        NOT NULL DEFAULT '',
    last_contact_at    timestamptz,
    first_success_at   timestamptz,
    last_run           jsonb
);
CREATE INDEX clustersyncs_target ON reconciler.clustersyncs (target_id) WHERE target_id <> '';

-- One row per cluster and set that targets it or still has objects there. A null target_generation: the set must go from there.
CREATE TABLE reconciler.cluster_sets (
    cluster_uid         uuid        NOT NULL,
    set_uid             uuid        NOT NULL,
    target_generation   bigint,
    observed_generation bigint      NOT NULL DEFAULT 0,
    result              text        NOT NULL DEFAULT 'Pending',
    cause               text        NOT NULL DEFAULT 'Queued',
    message             text        NOT NULL DEFAULT '',
    attempts            int         NOT NULL DEFAULT 0,
    retry_at            timestamptz,
    changed_at          timestamptz NOT NULL DEFAULT now(),
    first_success_at    timestamptz,
    objects             jsonb       NOT NULL DEFAULT '[]', -- per-object states that are not in the inventory: conflicts, failures
    PRIMARY KEY (cluster_uid, set_uid)
);
CREATE INDEX cluster_sets_set ON reconciler.cluster_sets (set_uid, result, cluster_uid);
CREATE INDEX cluster_sets_by_set ON reconciler.cluster_sets (set_uid, cluster_uid); -- fan-outs walk it

-- What is ours on a target, one row per object, keyed by cluster and target identity. An intent is written before the first
-- request that may create the object.
CREATE TABLE reconciler.inventory (
    cluster_uid      uuid        NOT NULL,
    target_id        text        NOT NULL,
    api_group        text        NOT NULL,
    kind             text        NOT NULL,
    namespace        text        NOT NULL,
    name             text        NOT NULL,
    set_uid          uuid        NOT NULL,
    set_generation   bigint      NOT NULL,
    item             int         NOT NULL, -- position in the set's resources
    version          text        NOT NULL, -- API version last used
    resource         text        NOT NULL, -- plural name in paths
    state            text        NOT NULL, -- Intent, or a v1 object state
    existed          boolean     NOT NULL DEFAULT false, -- was there, unmarked, before our first apply
    object_uid       text        NOT NULL DEFAULT '',
    marked_uid       text        NOT NULL DEFAULT '', -- set whose marks the object may still carry after it moved to set_uid
    hash             bytea, -- of what was sent last; null until an apply is confirmed
    resource_version text        NOT NULL DEFAULT '',
    message          text        NOT NULL DEFAULT '',
    applied_at       timestamptz,
    PRIMARY KEY (cluster_uid, target_id, api_group, kind, namespace, name)
);
CREATE INDEX inventory_set ON reconciler.inventory (set_uid, cluster_uid);

-- Inventories of targets that a cluster document no longer points to; for people to look at, never deleted from.
CREATE TABLE reconciler.archived_inventory (
    LIKE reconciler.inventory,
    archived_at timestamptz NOT NULL DEFAULT now()
);

-- Allows (open), holds (held) or turns into a release (released) the deletion of what one set owns on one cluster and no longer
-- wants. No row, no delete.
CREATE TABLE reconciler.removals (
    set_uid     uuid        NOT NULL,
    cluster_uid uuid        NOT NULL,
    generation  bigint      NOT NULL, -- of the set, when the removal was made or last confirmed
    cause       text        NOT NULL CHECK (cause IN ('edited', 'deleted', 'unmatched', 'unregistered', 'absent')),
    state       text        NOT NULL CHECK (state IN ('open', 'held', 'released')),
    actor       text        NOT NULL DEFAULT '',
    started_at  timestamptz, -- when the first delete was sent; set before it
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (set_uid, cluster_uid)
);
CREATE INDEX removals_cluster ON reconciler.removals (cluster_uid);
CREATE INDEX removals_held ON reconciler.removals (set_uid) WHERE state = 'held';

-- Which clusters lost objects of a set, and when; the budget counts the last hour of it.
CREATE TABLE reconciler.deletion_ledger (
    set_uid     uuid        NOT NULL,
    cluster_uid uuid        NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (set_uid, cluster_uid)
);

-- Committed changes on their way into the log; emptied by the relay. The identity's cache must stay 1: per object, a later
-- write then has the larger id.
CREATE TABLE reconciler.outbox (
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
CREATE TABLE reconciler.events (
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
CREATE INDEX events_resource ON reconciler.events (resource, revision);

-- One row: where the log stands, and whose log it is.
CREATE TABLE reconciler.relay (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch         text   NOT NULL DEFAULT '',
    fingerprint   text   NOT NULL DEFAULT '',
    last_rev      bigint NOT NULL DEFAULT 0,
    published_rev bigint NOT NULL DEFAULT 0,
    compacted_rev bigint NOT NULL DEFAULT 0
);
INSERT INTO reconciler.relay DEFAULT VALUES;

CREATE TABLE reconciler.relay_resources (
    resource text PRIMARY KEY,
    last_rev bigint NOT NULL
);

-- Partitions hold a million revisions each. A service's role may not create tables, so it makes and drops them through these two.
-- +goose StatementBegin
CREATE FUNCTION reconciler.ensure_event_partition(at bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     bigint := at / 1000000;
    child text   := format('events_p%s', n);
BEGIN
    IF at < 0 OR to_regclass(format('reconciler.%I', child)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS reconciler.%I PARTITION OF reconciler.events FOR VALUES FROM (%s) TO (%s)',
        child, n * 1000000, (n + 1) * 1000000);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION reconciler.drop_event_partition(n bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE reconciler.relay SET compacted_rev = greatest(compacted_rev, (n + 1) * 1000000 - 1)
        WHERE one AND published_rev >= (n + 1) * 1000000 - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % still holds revisions that are not published', n;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS reconciler.%I', format('events_p%s', n));
END
$$;
-- +goose StatementEnd

SELECT reconciler.ensure_event_partition(0);

-- +goose Down
DROP TABLE reconciler.relay_resources, reconciler.relay, reconciler.events, reconciler.outbox;
DROP FUNCTION reconciler.ensure_event_partition(bigint);
DROP FUNCTION reconciler.drop_event_partition(bigint);
DROP TABLE reconciler.deletion_ledger, reconciler.removals, reconciler.archived_inventory, reconciler.inventory,
    reconciler.cluster_sets, reconciler.clustersyncs, reconciler.workers, reconciler.work, reconciler.fanouts,
    reconciler.set_generations, reconciler.sets, reconciler.credentials, reconciler.clusters, reconciler.staged, reconciler.planner,
    reconciler.installation;
DROP SEQUENCE reconciler.resource_version;
