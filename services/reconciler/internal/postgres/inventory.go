package postgres

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// inventoryRow is a row as jsonb_to_recordset reads it, so that any number of rows is one statement.
type inventoryRow struct {
	APIGroup        string     `json:"api_group"`
	Kind            string     `json:"kind"`
	Namespace       string     `json:"namespace"`
	Name            string     `json:"name"`
	SetUID          string     `json:"set_uid"`
	SetGeneration   int64      `json:"set_generation"`
	Item            int        `json:"item"`
	Version         string     `json:"version"`
	Resource        string     `json:"resource"`
	State           string     `json:"state"`
	Existed         bool       `json:"existed"`
	ObjectUID       string     `json:"object_uid"`
	MarkedUID       string     `json:"marked_uid"`
	Hash            *string    `json:"hash"` // hexadecimal
	ResourceVersion string     `json:"resource_version"`
	Message         string     `json:"message"`
	AppliedAt       *time.Time `json:"applied_at"`
	Fields          *string    `json:"fields"` // hexadecimal
	Health          string     `json:"health"`
	HealthMessage   string     `json:"health_message"`
	Drifts          int        `json:"drifts"`
	DriftedAt       *time.Time `json:"drifted_at"`
	DriftedBy       string     `json:"drifted_by"`
}

func inventoryRows(rows []inventory.Row) []inventoryRow {
	out := make([]inventoryRow, len(rows))
	for n, r := range rows {
		out[n] = inventoryRow{
			APIGroup: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, SetUID: r.SetUID, SetGeneration: r.SetGeneration,
			Item: r.Item, Version: r.Version, Resource: r.Resource, State: r.State, Existed: r.Existed, ObjectUID: r.ObjectUID,
			MarkedUID: r.MarkedUID, ResourceVersion: r.ResourceVersion, Message: r.Message, AppliedAt: r.AppliedAt,
			Hash: hexadecimal(r.Hash), Fields: hexadecimal(r.Fields), Health: r.Health, HealthMessage: r.HealthMessage,
			Drifts: r.Drifts, DriftedAt: r.DriftedAt, DriftedBy: r.DriftedBy,
		}
	}
	return out
}

// hexadecimal returns bytes as text, nil for none.
func hexadecimal(b []byte) *string {
	if b == nil {
		return nil
	}
	text := hex.EncodeToString(b)
	return &text
}

const upsertInventorySQL = `INSERT INTO reconciler.inventory AS i (cluster_uid, target_id, api_group, kind, namespace, name, set_uid,
	set_generation, item, version, resource, state, existed, object_uid, marked_uid, hash, resource_version, message, applied_at,
	fields, health, health_message, drifts, drifted_at, drifted_by)
SELECT $1, $2, api_group, kind, namespace, name, set_uid, set_generation, item, version, resource, state, existed, object_uid, marked_uid,
	decode(hash, 'hex'), resource_version, message, applied_at, decode(fields, 'hex'), health, health_message, drifts, drifted_at, drifted_by
FROM jsonb_to_recordset($3) AS r (api_group text, kind text, namespace text, name text, set_uid uuid, set_generation bigint, item int,
	version text, resource text, state text, existed boolean, object_uid text, marked_uid text, hash text, resource_version text,
	message text, applied_at timestamptz, fields text, health text, health_message text, drifts int, drifted_at timestamptz, drifted_by text)
WHERE EXISTS (SELECT FROM reconciler.clustersyncs s WHERE s.cluster_uid = $1 AND s.target_id = $2)
ON CONFLICT (cluster_uid, target_id, api_group, kind, namespace, name) DO UPDATE SET set_uid = excluded.set_uid,
	set_generation = excluded.set_generation, item = excluded.item, version = excluded.version, resource = excluded.resource,
	state = excluded.state, existed = excluded.existed, object_uid = excluded.object_uid, marked_uid = excluded.marked_uid,
	hash = excluded.hash, resource_version = excluded.resource_version, message = excluded.message, applied_at = excluded.applied_at,
	fields = excluded.fields, health = excluded.health, health_message = excluded.health_message, drifts = excluded.drifts,
	drifted_at = excluded.drifted_at, drifted_by = excluded.drifted_by`

// upsertInventory writes rows as they are given, provided that the target still is the cluster's: what was owned on a former one is
// archived.
func upsertInventory(ctx context.Context, tx pgx.Tx, clusterUID, targetID string, rows []inventory.Row) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, upsertInventorySQL, clusterUID, targetID, inventoryRows(rows))
	return err
}

// dropInventory removes the rows of objects that are no longer ours.
func dropInventory(ctx context.Context, tx pgx.Tx, clusterUID, targetID string, ids []inventory.Identity) error {
	if len(ids) == 0 {
		return nil
	}
	rows := make([]inventory.Row, len(ids))
	for n, id := range ids {
		rows[n].Identity = id
	}
	_, err := tx.Exec(ctx, `DELETE FROM reconciler.inventory i
USING jsonb_to_recordset($3) AS r (api_group text, kind text, namespace text, name text)
WHERE i.cluster_uid = $1 AND i.target_id = $2 AND i.api_group = r.api_group AND i.kind = r.kind
	AND i.namespace = r.namespace AND i.name = r.name`, clusterUID, targetID, inventoryRows(rows))
	return err
}
