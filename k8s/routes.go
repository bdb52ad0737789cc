// Package k8s holds the deployment's data that programs need too: the routes by which one host serves the three services.
package k8s

import (
	_ "embed"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed routes.yaml
var routesYAML []byte

// Route sends Path and everything below it to Service.
type Route struct {
	Path    string `json:"path"`
	Service string `json:"service"`
}

// Routes is the content of routes.yaml.
type Routes []Route

// LoadRoutes returns the routes that this build was made with.
func LoadRoutes() (Routes, error) {
	var file struct {
		Routes Routes `json:"routes"`
	}
	if err := yaml.UnmarshalStrict(routesYAML, &file); err != nil {
		return nil, fmt.Errorf("read routes.yaml: %w", err)
	}
	return file.Routes, nil
}

// Find returns the service that serves path: that of the longest route that path equals or lies below.
func (r Routes) Find(path string) (service string, ok bool) {
	longest := 0
	for _, route := range r {
		if len(route.Path) <= longest {
			continue
		}
		if rest, found := strings.CutPrefix(path, route.Path); found && (rest == "" || rest[0] == '/') {
			service, ok, longest = route.Service, true, len(route.Path)
		}
	}
	return service, ok
}

// Differences compares the routes with the paths that a service's router has, as templates: paths that would go elsewhere, and routes to
// the service under which it serves nothing. The services' tests call it.
func (r Routes) Differences(service string, paths []string) []string {
	var all []string
	used := map[string]bool{}
	for _, path := range paths {
		if got, _ := r.Find(path); got != service {
			all = append(all, fmt.Sprintf("%s of %s goes to %q", path, service, got))
		}
		for _, route := range r {
			if path == route.Path || strings.HasPrefix(path, route.Path+"/") {
				used[route.Path] = true
			}
		}
	}
	for _, route := range r {
		if route.Service == service && !used[route.Path] {
			all = append(all, fmt.Sprintf("%s goes to %s, which serves nothing there", route.Path, service))
		}
	}
	return all
}
