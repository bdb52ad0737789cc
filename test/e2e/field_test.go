package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

// field is a cluster of a test's own, in a namespace of its own of a system and a target that many tests share. Sets of it go by the
// name of the field.
type field struct {
	*stack.Stack
	t       *testing.T
	target  *stack.Target
	objects dynamic.Interface
	kube    *devstack.Kube
	ns      string            // on the target, and the cluster's own; also the label that its sets select by
	labels  map[string]string // of the cluster
	written map[string]int64  // by set, the generation written last
}

// fields runs tests side by side on one system, each on a field.
func fields(t *testing.T, tests map[string]func(f *field)) {
	t.Helper()
	kube := devstack.Kubernetes(t)
	s := stack.Start(t, stack.Options{})
	target := stack.NewTarget(t, kube.Kubeconfig)
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kube.Kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// The system stops when t ends, which is after all of them.
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &field{Stack: s, t: t, target: stack.NewTarget(t, kube.Kubeconfig), objects: objects, kube: kube, ns: unique("field"), written: map[string]int64{}}
			target.Namespace(f.ns)
			f.labels = map[string]string{"field": f.ns}
			register(s, f.ns, "c", kube.Kubeconfig, f.labels)
			test(f)
		})
	}
}

// put writes the field's selectorsyncset of this name; more adds or replaces fields of its document.
func (f *field) put(name string, resources []json.RawMessage, more map[string]any) {
	f.t.Helper()
	body := selectorSet(f.set(name), "field", f.ns, resources, more)
	a := f.Do(http.MethodPut, "/v1/selectorsyncsets/"+f.set(name), body, 200, 201)
	f.written[name] = stack.JSON[v1.SelectorSyncSet](f.t, a).Generation
}

func (f *field) set(name string) string { return f.ns + "-" + name }

func (f *field) remove(name string) {
	f.t.Helper()
	f.Do(http.MethodDelete, "/v1/selectorsyncsets/"+f.set(name), nil, 204)
}

// relabel gives the cluster these labels beside the field's own.
func (f *field) relabel(labels map[string]string) {
	f.t.Helper()
	all := maps.Clone(labels)
	all["field"] = f.ns
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", map[string]any{"name": "c", "namespace": f.ns, "labels": all}, 200)
}

// result waits until a set has a result at the generation that was written last, and returns its status. What is suspended or cannot be
// reached is not brought to any generation.
func (f *field) result(name, want string) v1.SetStatus {
	f.t.Helper()
	var found v1.SetStatus
	stack.Wait(f.t, soon, fmt.Sprintf("%s to be %s at generation %d", name, want, f.written[name]), func() (bool, string) {
		cs, _ := clusterSync(f.t, f.Stack, f.ns, "c")
		found, _ = setStatus(cs, f.set(name))
		applied := want == v1.ResultSuspended || want == v1.ResultPending || found.ObservedGeneration == f.written[name]
		return found.Result == want && found.TargetGeneration == f.written[name] && applied, fmt.Sprintf("%+v", found)
	})
	return found
}

// fails waits until a set fails with a message that contains all of parts.
func (f *field) fails(name string, parts ...string) v1.SetStatus {
	f.t.Helper()
	var found v1.SetStatus
	stack.Wait(f.t, soon, fmt.Sprintf("%s to fail with %q", name, parts), func() (bool, string) {
		cs, _ := clusterSync(f.t, f.Stack, f.ns, "c")
		found, _ = setStatus(cs, f.set(name))
		ok := found.Result == v1.ResultFailure
		for _, part := range parts {
			ok = ok && strings.Contains(found.FailureMessage, part)
		}
		return ok, fmt.Sprintf("%s: %s", found.Result, found.FailureMessage)
	})
	return found
}

// data waits until a ConfigMap of the field has this value.
func (f *field) data(name, key, value string) {
	f.t.Helper()
	f.target.WaitData(soon, f.ns, name, key, value)
}

// kept checks that a ConfigMap is there, and still the one with this uid.
func (f *field) kept(name string, uid any) {
	f.t.Helper()
	cm := f.target.ConfigMap(f.ns, name)
	if cm == nil || fmt.Sprint(cm.UID) != fmt.Sprint(uid) {
		f.t.Fatalf("%s was deleted or replaced: %+v", name, cm)
	}
}

// uid is the uid of a ConfigMap that is there.
func (f *field) uid(name string) any {
	f.t.Helper()
	cm := f.target.ConfigMap(f.ns, name)
	if cm == nil {
		f.t.Fatalf("%s is not there", name)
	}
	return cm.UID
}

// get reads any object of the field's namespace; nil when it is not there.
func (f *field) get(group, version, resource, name string) *unstructured.Unstructured {
	f.t.Helper()
	kind := schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
	o, err := f.objects.Resource(kind).Namespace(f.ns).Get(context.WithoutCancel(f.t.Context()), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// wait waits until ok says yes of an object, which is nil while it is not there.
func (f *field) wait(what, group, version, resource, name string, ok func(*unstructured.Unstructured) bool) *unstructured.Unstructured {
	f.t.Helper()
	var o *unstructured.Unstructured
	stack.Wait(f.t, soon, what, func() (bool, string) {
		o = f.get(group, version, resource, name)
		return ok(o), fmt.Sprintf("%v", o)
	})
	return o
}

// as is where somebody else writes an object: server-side apply is not how others work.
func (f *field) create(manager string, object map[string]any) {
	f.t.Helper()
	o := &unstructured.Unstructured{Object: object}
	o.SetNamespace(f.ns)
	resource, err := resourceOf(o)
	if err == nil {
		_, err = f.objects.Resource(resource).Namespace(f.ns).Create(f.t.Context(), o, metav1.CreateOptions{FieldManager: manager})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func resourceOf(o *unstructured.Unstructured) (schema.GroupVersionResource, error) {
	resources := map[string]string{"ConfigMap": "configmaps", "Secret": "secrets", "Deployment": "deployments", "RoleBinding": "rolebindings"}
	kind := o.GroupVersionKind()
	if resources[kind.Kind] == "" {
		return schema.GroupVersionResource{}, errors.New("no test has needed a " + kind.Kind + " before")
	}
	return kind.GroupVersion().WithResource(resources[kind.Kind]), nil
}

// object is the JSON of an object in the field's namespace, as a set's resource. Fields come behind its metadata.
func (f *field) object(apiVersion, kind, name, fields string) json.RawMessage {
	if fields != "" {
		fields = ", " + fields
	}
	return json.RawMessage(fmt.Sprintf(`{"apiVersion": %q, "kind": %q, "metadata": {"namespace": %q, "name": %q}%s}`, apiVersion, kind, f.ns, name, fields))
}

func (f *field) configMap(name, key, value string) json.RawMessage {
	return stack.ConfigMap(f.ns, name, key, value)
}

func list(resources ...json.RawMessage) []json.RawMessage { return resources }

func gone(o *unstructured.Unstructured) bool { return o == nil }

// text is a field of an object, "" where there is none.
func text(o *unstructured.Unstructured, path ...string) string {
	if o == nil {
		return ""
	}
	value, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}
