package devstack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/syncsets/syncsets/libs/devstack"
)

func TestEachPostgresIsADatabaseOfItsOwnWithTheMigrations(t *testing.T) {
	t.Parallel()
	var dropped string
	t.Run("lives as long as its test", func(t *testing.T) {
		one, two := devstack.Postgres(t, "syncsets", "clusters"), devstack.Postgres(t, "clusters", "syncsets")
		if one.Params == two.Params {
			t.Errorf("both tests got %s", one.Params)
		}
		var schemas []string
		rows, err := one.Pool.Query(t.Context(), "SELECT schemaname FROM pg_tables WHERE tablename = 'goose_db_version' ORDER BY 1")
		if err == nil {
			schemas, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if diff := cmp.Diff([]string{"clusters", "syncsets"}, schemas); err != nil || diff != "" {
			t.Errorf("migrated schemas (-want +got), %v:\n%s", err, diff)
		}
		dropped = one.Params
	})
	if conn, err := pgx.Connect(t.Context(), dropped); err == nil {
		t.Errorf("the database is still there after its test: %v", conn.Close(t.Context()))
	}
}

func TestAnEmptyPostgresHasNoSchemas(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	var n int
	err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname IN ('clusters', 'syncsets', 'reconciler')").Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d schemas, %v", n, err)
	}
}

func TestEachRabbitMQHasAPrefixOfItsOwn(t *testing.T) {
	t.Parallel()
	one, two := devstack.RabbitMQ(t), devstack.RabbitMQ(t)
	if one.URL != two.URL || one.Prefix == two.Prefix {
		t.Errorf("got %+v and %+v, want one broker and two prefixes", one, two)
	}
}

func TestKubernetesRunsControllersAndWritesItsAuditLog(t *testing.T) {
	t.Parallel()
	kube := devstack.Kubernetes(t)
	client := clientOf(t, kube)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := fmt.Sprintf("devstack-%d", time.Now().UnixNano())
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace(name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the service account controller made the default account", func() error {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the namespace controller finished the deletion", func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if kerrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("still there"))
	})
	eventually(t, 10*time.Second, "the audit log has our requests", func() error { return audited(kube.AuditLog, name) })
}

// audited is nil when the log has the creation and the deletion of the namespace.
func audited(path, name string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var event struct {
			Verb      string
			ObjectRef struct{ Resource, Name string }
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			continue // the last line may be half written
		}
		if event.ObjectRef.Resource == "namespaces" && event.ObjectRef.Name == name {
			seen[event.Verb] = true
		}
	}
	if !seen["create"] || !seen["delete"] {
		return fmt.Errorf("verbs seen: %v", seen)
	}
	return nil
}

func TestKubernetesKeepsObjectsAndIdentityOverKillAndRestart(t *testing.T) {
	t.Parallel()
	kube := devstack.NewKubernetes(t)
	client := clientOf(t, kube)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	made, err := client.CoreV1().Namespaces().Create(ctx, namespace("kept"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := kube.Server.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := kube.Server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	found, err := client.CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if found.UID != made.UID {
		t.Errorf("uid %s, want %s", found.UID, made.UID)
	}
}

func clientOf(t *testing.T, kube *devstack.Kube) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kube.Kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
