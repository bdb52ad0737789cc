package k8s_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/syncsets/syncsets/k8s"
)

func TestFindTakesTheLongestRouteByWholeSegments(t *testing.T) {
	t.Parallel()
	routes := k8s.Routes{{Path: "/v1/clusters", Service: "clusters"}, {Path: "/v1/clusters/x/special", Service: "syncsets"}}
	cases := []struct {
		name, path, service string
		ok                  bool
	}{
		{"the path itself", "/v1/clusters", "clusters", true},
		{"a path below", "/v1/clusters/foo/cluster1", "clusters", true},
		{"another resource that begins alike", "/v1/clustersyncs", "", false},
		{"a longer route wins", "/v1/clusters/x/special/y", "syncsets", true},
		{"above every route", "/v1", "", false},
		{"the internal listener's paths", "/internal/v1/installation", "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			service, ok := routes.Find(c.path)
			if service != c.service || ok != c.ok {
				t.Errorf("Find(%q) = %q, %v; want %q, %v", c.path, service, ok, c.service, c.ok)
			}
		})
	}
}

func TestEveryPathOfTheAPIHasAService(t *testing.T) {
	t.Parallel()
	routes, err := k8s.LoadRoutes()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"/v1/clusters/foo/cluster1": "clusters", "/v1/syncsets": "syncsets", "/v1/selectorsyncsets/x": "syncsets",
		"/v1/clustersyncs/foo/cluster1": "reconciler", "/v1/setsyncs/uid/x/confirm": "reconciler",
	}
	for path, service := range want {
		if got, _ := routes.Find(path); got != service {
			t.Errorf("%s goes to %q, want %q", path, got, service)
		}
	}
}

func TestTheIngressHasTheSameRoutes(t *testing.T) {
	t.Parallel()
	want, err := k8s.LoadRoutes()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("base/ingress.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var ingress networkingv1.Ingress
	if err := yaml.UnmarshalStrict(b, &ingress); err != nil {
		t.Fatal(err)
	}
	var got k8s.Routes
	for _, path := range ingress.Spec.Rules[0].HTTP.Paths {
		if *path.PathType != networkingv1.PathTypePrefix {
			t.Errorf("%s is of type %s; the door matches prefixes by segment", path.Path, *path.PathType)
		}
		got = append(got, k8s.Route{Path: path.Path, Service: path.Backend.Service.Name})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes.yaml and base/ingress.yaml differ (-routes +ingress):\n%s", diff)
	}
}

// The manifests are decoded strictly into Kubernetes' own types: a misspelt field fails here instead of being dropped by a server.
func TestTheManifestsAreWhatKubernetesKnows(t *testing.T) {
	t.Parallel()
	types := map[string]func() any{
		"Deployment": func() any { return &appsv1.Deployment{} }, "Service": func() any { return &corev1.Service{} },
		"Job": func() any { return &batchv1.Job{} }, "Namespace": func() any { return &corev1.Namespace{} },
		"Ingress": func() any { return &networkingv1.Ingress{} },
	}
	files, err := filepath.Glob("base/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, document := range strings.Split(string(b), "\n---\n") {
			var kind struct{ Kind string }
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatalf("%s, document %d: %v", file, i, err)
			}
			object, known := types[kind.Kind]
			if !known {
				t.Errorf("%s, document %d: unexpected kind %q", file, i, kind.Kind)
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(document), object()); err != nil {
				t.Errorf("%s, document %d: %v", file, i, err)
			}
		}
	}
}
