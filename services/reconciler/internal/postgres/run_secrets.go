package postgres

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

const loadMappingsSQL = `SELECT jsonb_build_object('secretMappings', g.document -> 'secretMappings', 'missingLabel', g.document -> 'missingLabel',
	'enableResourceTemplates', g.document -> 'enableResourceTemplates')
FROM reconciler.cluster_sets t JOIN reconciler.set_generations g ON g.set_uid = t.set_uid AND g.generation = t.target_generation
WHERE t.cluster_uid = $1 AND EXISTS (SELECT FROM reconciler.set_secrets k WHERE k.set_uid = t.set_uid)`

// copied returns which secrets a cluster's sets copy there, by the generations to apply.
func copied(ctx context.Context, tx pgx.Tx, c v1.Cluster) ([]v1.NamespacedName, error) {
	rows, err := tx.Query(ctx, loadMappingsSQL, planAnew, c.UID)
	if err != nil {
		return nil, err
	}
	documents, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, err
	}
	facts := render.Facts{Namespace: c.Namespace, Name: c.Name, UID: c.UID, Labels: c.Labels}
	var refs []v1.NamespacedName
	for _, document := range documents {
		var spec v1.SetSpec
		if err := json.Unmarshal(document, &spec); err != nil {
			return nil, err
		}
		refs = append(refs, render.Sources(spec, facts)...)
	}
	return refs, nil
}

// A secret that was deleted and created anew may be known twice for a moment: the newer one counts.
const loadSecretsSQL = `SELECT DISTINCT ON (s.namespace, s.name) s.namespace, s.name, s.uid::text, s.document, d.version, d.wanted, d.key_id, d.sealed
FROM unnest($1::text[], $2::text[]) AS w (namespace, name) JOIN reconciler.secrets s USING (namespace, name)
JOIN reconciler.secret_data d ON d.secret_uid = s.uid ORDER BY s.namespace, s.name, s.resource_version DESC`

// loadSecrets reads the secrets that a cluster's sets copy, as sealed.
func loadSecrets(ctx context.Context, tx pgx.Tx, c v1.Cluster) (map[v1.NamespacedName]work.Secret, error) {
	refs, err := copied(ctx, tx, c)
	if err != nil || len(refs) == 0 {
		return nil, err
	}
	namespaces, names := make([]string, len(refs)), make([]string, len(refs))
	for i, ref := range refs {
		namespaces[i], names[i] = ref.Namespace, ref.Name
	}
	rows, err := tx.Query(ctx, loadSecretsSQL, planAnew, namespaces, names)
	if err != nil {
		return nil, err
	}
	found := map[v1.NamespacedName]work.Secret{}
	var key v1.NamespacedName
	var s work.Secret
	var document, sealed []byte
	_, err = pgx.ForEachRow(rows, []any{&key.Namespace, &key.Name, &s.UID, &document, &s.Version, &s.Wanted, &s.KeyID, &sealed}, func() error {
		var d v1.Secret
		if err := json.Unmarshal(document, &d); err != nil {
			return err
		}
		s.Type, s.Labels, s.Annotations, s.Sealed = d.Type, d.Labels, d.Annotations, slices.Clone(sealed)
		found[key] = s
		return nil
	})
	return found, err
}
