package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/syncsets/syncsets/libs/devstack"
)

func TestMain(m *testing.M) { devstack.Main(m) }

func TestOnlyWhatThisInstallationLeftIsDeleted(t *testing.T) {
	t.Parallel()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(devstack.Kubernetes(t).Kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	marks := func(id string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Labels: map[string]string{managed: "true"}, Annotations: map[string]string{installation: id}}
	}
	tests := map[string]struct {
		second metav1.ObjectMeta // of the second object; the first is this installation's
		says   string            // "": both are deleted
	}{
		"both of this installation":           {marks("ours"), ""},
		"one of another installation":         {marks("theirs"), "/two on the target belongs to another installation of SyncSets (theirs, this is ours)"},
		"one that nobody marked":              {metav1.ObjectMeta{}, "/two is on the target and was not made by SyncSets"},
		"one with the label and nothing else": {metav1.ObjectMeta{Labels: map[string]string{managed: "true"}}, "/two is on the target and was not made"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := fmt.Sprintf("demo-%08x", rand.Uint32())
			_, err := client.CoreV1().Namespaces().Create(t.Context(),
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for name, meta := range map[string]metav1.ObjectMeta{"one": marks("ours"), "two": tt.second} {
				meta.Name = name
				_, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
			}
			d := &demo{target: client, Options: Options{Installation: "ours", Examples: examples(namespace)}}
			err = d.deleteLeftovers(t.Context())
			if (err == nil) != (tt.says == "") || (err != nil && !strings.Contains(err.Error(), namespace+tt.says)) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
			for _, name := range []string{"one", "two"} {
				_, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) != (tt.says == "") {
					t.Errorf("afterwards %s: %v", name, err)
				}
			}
		})
	}
}

// What has changed since it was looked at is not deleted.
func TestALeftoverThatChangedMeanwhileStays(t *testing.T) {
	t.Parallel()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(devstack.Kubernetes(t).Kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	maps := client.CoreV1().ConfigMaps("default")
	name := fmt.Sprintf("demo-%08x", rand.Uint32())
	seen, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	changed := seen.DeepCopy()
	changed.Data = map[string]string{"k": "v"}
	if _, err := maps.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := (&demo{target: client}).delete(t.Context(), seen); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

func examples(namespace string) fstest.MapFS {
	text := `{"resources": [
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "NS", "name": "one"}},
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "NS", "name": "two"}}]}`
	return fstest.MapFS{"selectorsyncset.json": {Data: []byte(strings.ReplaceAll(text, "NS", namespace))}}
}
