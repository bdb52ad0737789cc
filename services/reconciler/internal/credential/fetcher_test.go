package credential_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/reconciler/internal/credential"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/source"
)

func TestMain(m *testing.M) { devstack.Main(m) }

const (
	cluster      = "00000000-0000-0000-0000-0000000000c1"
	installation = "00000000-0000-0000-0000-0000000000ff"
	secret       = "kubeconfig-with-a-secret"
)

func newKeys(t *testing.T) *seal.Keys {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// values are what a secret holds, as the syncsets service answers.
const values = `{"password":"dmFsdWVzLW9mLWEtc2VjcmV0"}`

// The values of a secret are fetched and sealed as kubeconfigs are, while the service that keeps those is away; the clusters of the sets that
// copy the secret become due, many of them by a fan-out.
func TestWantedValuesOfASecretAreFetchedSealedAndMarked(t *testing.T) {
	t.Parallel()
	pg, keys := devstack.Postgres(t, "reconciler"), newKeys(t)
	const few, many, uid = "00000000-0000-0000-0000-0000000000a1", "00000000-0000-0000-0000-0000000000a2", "00000000-0000-0000-0000-0000000000d1"
	for _, sql := range []string{
		`INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, document)
			SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'ns', 'c' || n, 1, 1, '{}' FROM generate_series(1, 101) n`,
		"INSERT INTO reconciler.work (cluster_uid, want, done, next_at) SELECT uid, 1, 1, now() + interval '1 hour' FROM reconciler.clusters",
		"INSERT INTO reconciler.credentials (cluster_uid, wanted) SELECT uid, 1 FROM reconciler.clusters WHERE name = 'c1'",
		`INSERT INTO reconciler.sets (uid, resource, namespace, name, generation, resource_version, document)
			SELECT uid, 'selectorsyncsets', '', uid::text, 1, 1, '{"clusterSelector": {}}' FROM unnest('{` + few + `,` + many + `}'::uuid[]) uid`,
		"INSERT INTO reconciler.set_secrets (set_uid, namespace, name) SELECT uid, 'ns', 'x' FROM reconciler.sets",
		"INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation) SELECT uid, '" + many + "', 1 FROM reconciler.clusters",
		"INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation) SELECT uid, '" + few + "', 1 FROM reconciler.clusters WHERE name = 'c7'",
		"INSERT INTO reconciler.secrets (uid, namespace, name, generation, resource_version, document) VALUES ('" + uid + "', 'ns', 'x', 1, 1, '{}')",
		"INSERT INTO reconciler.secret_data (secret_uid, wanted) VALUES ('" + uid + "', 2)",
	} {
		if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var requests atomic.Int32
	syncsets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token" || r.URL.Path != "/internal/v1/secrets/"+uid+"/data":
			w.WriteHeader(http.StatusNotFound)
		case requests.Add(1) < 2: // an older version: the document has been read from elsewhere
			_, _ = fmt.Fprint(w, `{"version": 1, "data": {}}`)
		default:
			_, _ = fmt.Fprintf(w, `{"version": 2, "data": %s}`, values)
		}
	}))
	t.Cleanup(syncsets.Close)

	var log bytes.Buffer
	fannedOut := make(chan struct{}, 8)
	f := credential.New(credential.Config{
		Store: postgres.New(pg.Pool), Clusters: source.New("http://127.0.0.1:1", "token"), SyncSets: source.New(syncsets.URL, "token"), Keys: keys,
		Installation: installation, Log: slog.New(slog.NewTextHandler(&log, nil)), Poll: 50 * time.Millisecond,
		FanOut: func() { fannedOut <- struct{}{} },
	})
	stored := func() (version int, keyID string, sealed []byte) {
		err := pg.Pool.QueryRow(t.Context(), "SELECT version, key_id, coalesce(sealed, '') FROM reconciler.secret_data").Scan(&version, &keyID, &sealed)
		if err != nil {
			t.Fatal(err)
		}
		return version, keyID, sealed
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	var running sync.WaitGroup
	running.Go(func() { _ = f.Run(ctx) })
	version, keyID, sealed := stored()
	for version < 2 && ctx.Err() == nil {
		select {
		case <-fannedOut:
		case <-ctx.Done():
			t.Error("no values within 30 s")
		}
		version, keyID, sealed = stored()
	}
	stop()
	running.Wait()

	text, err := keys.Open(credential.SecretRef(installation, uid), keyID, sealed)
	if err != nil || string(text) != values || version != 2 {
		t.Errorf("stored: version %d, %d bytes, %v", version, len(text), err)
	}
	var due, fanOuts int
	err = pg.Pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM reconciler.work WHERE next_at <= now() AND want > done),
	(SELECT count(*) FROM reconciler.fanouts WHERE set_uid = $1)`, many).Scan(&due, &fanOuts)
	if err != nil || due != 1 || fanOuts != 1 {
		t.Errorf("%d clusters are due at once, %d fan-outs of the other set, %v; want one and one", due, fanOuts, err)
	}
	var dump string
	err = pg.Pool.QueryRow(t.Context(), `SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I', table_schema, table_name), true, false, '')::text, '')
FROM information_schema.tables WHERE table_schema = 'reconciler'`).Scan(&dump)
	if err != nil || !strings.Contains(dump, uid) {
		t.Errorf("the schema cannot be looked at: %v", err)
	}
	for _, value := range []string{"dmFsdWVz", "values-of-a-secret", hex.EncodeToString([]byte("dmFsdWVz"))} {
		if bytes.Contains(sealed, []byte(value)) || strings.Contains(log.String()+dump, value) {
			t.Errorf("a value can be read: %s", value)
		}
	}
	other := credential.New(credential.Config{Store: postgres.New(pg.Pool), Keys: newKeys(t)})
	if err := other.CheckKeys(t.Context()); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), keyID) {
		t.Errorf("with other keys: %v, want invalid, naming %s", err, keyID)
	}
}

// A kubeconfig is fetched in spite of failures, stored sealed, and its cluster becomes due; its text is nowhere else.
func TestAWantedKubeconfigIsFetchedSealedAndMarked(t *testing.T) {
	t.Parallel()
	pg, keys := devstack.Postgres(t, "reconciler"), newKeys(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pg.Pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, document) VALUES ($1, 'ns', 'c', 1, 1, '{}')`, cluster)
	exec("INSERT INTO reconciler.work (cluster_uid, want, done, next_at, attempts) VALUES ($1, 1, 1, now() + interval '1 hour', 5)", cluster)
	exec("INSERT INTO reconciler.credentials (cluster_uid, wanted) VALUES ($1, 3)", cluster)

	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token" || r.URL.Path != "/internal/v1/clusters/"+cluster+"/kubeconfig":
			w.WriteHeader(http.StatusNotFound)
		case requests.Add(1) < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = fmt.Fprintf(w, `{"version": 3, "kubeconfig": %q}`, secret)
		}
	}))
	t.Cleanup(server.Close)

	var log bytes.Buffer
	woken := make(chan struct{}, 1)
	f := credential.New(credential.Config{
		Store: postgres.New(pg.Pool), Clusters: source.New(server.URL, "token"), Keys: keys, Installation: installation,
		Log: slog.New(slog.NewTextHandler(&log, nil)), Poll: 50 * time.Millisecond,
		Wake: func() { woken <- struct{}{} },
	})
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	var running sync.WaitGroup
	running.Go(func() { _ = f.Run(ctx) })
	select {
	case <-woken:
	case <-ctx.Done():
		t.Error("no kubeconfig within 30 s")
	}
	stop()
	running.Wait()

	var keyID string
	var sealed []byte
	var version, attempts int
	var due bool
	err := pg.Pool.QueryRow(t.Context(), `SELECT k.version, k.key_id, k.sealed, w.attempts, w.next_at <= now() AND w.want > w.done
FROM reconciler.credentials k JOIN reconciler.work w USING (cluster_uid)`).Scan(&version, &keyID, &sealed, &attempts, &due)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.Open(credential.Ref(installation, cluster), keyID, sealed)
	if err != nil || string(text) != secret || version != 3 {
		t.Errorf("stored: version %d, %q, %v", version, text, err)
	}
	if !due || attempts != 0 {
		t.Errorf("the cluster is due: %t, failed attempts: %d; want it due and tried at once", due, attempts)
	}
	if bytes.Contains(sealed, []byte(secret)) || strings.Contains(log.String(), secret) {
		t.Error("the kubeconfig can be read")
	}
	other := credential.New(credential.Config{Store: postgres.New(pg.Pool), Keys: newKeys(t)})
	if err := other.CheckKeys(t.Context()); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), keyID) {
		t.Errorf("with other keys: %v, want invalid, naming %s", err, keyID)
	}
}
