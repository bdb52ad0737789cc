package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Target looks at a Kubernetes API server as its administrator would.
type Target struct {
	Client kubernetes.Interface
	t      testing.TB
}

// NewTarget connects to the API server that kubeconfig names, without client-side rate limits.
func NewTarget(t testing.TB, kubeconfig string) *Target {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	config.Dial = (&net.Dialer{}).DialContext // else client-go lets all clients of one kubeconfig share a connection
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &Target{Client: client, t: t}
}

// Namespace creates a namespace and deletes it when the test ends.
func (g *Target) Namespace(name string) {
	g.t.Helper()
	ctx := context.Background()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := g.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = g.Client.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

// ConfigMap returns a ConfigMap, nil when it is not there.
func (g *Target) ConfigMap(namespace, name string) *corev1.ConfigMap {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cm, err := g.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return cm
}

// WaitData waits until the ConfigMap's data has value under key.
func (g *Target) WaitData(limit time.Duration, namespace, name, key, value string) {
	g.t.Helper()
	Wait(g.t, limit, fmt.Sprintf("ConfigMap %s/%s with %s=%q", namespace, name, key, value), func() (bool, string) {
		cm := g.ConfigMap(namespace, name)
		if cm == nil {
			return false, "not there"
		}
		return cm.Data[key] == value, fmt.Sprint(cm.Data)
	})
}

// WaitGone waits until the ConfigMap is gone.
func (g *Target) WaitGone(limit time.Duration, namespace, name string) {
	g.t.Helper()
	Wait(g.t, limit, fmt.Sprintf("ConfigMap %s/%s gone", namespace, name), func() (bool, string) {
		cm := g.ConfigMap(namespace, name)
		return cm == nil, fmt.Sprintf("%+v", cm)
	})
}

// ConfigMap returns the JSON of a ConfigMap with one entry, as a set's resource.
func ConfigMap(namespace, name, key, value string) json.RawMessage {
	b, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": namespace, "name": name},
		"data":     map[string]string{key: value},
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}
