package credential_test

import (
	"bytes"
	"context"
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
