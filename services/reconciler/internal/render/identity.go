package render

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/syncsets/syncsets/libs/templating"
)

// naming is what names an object in a document.
type naming struct{ apiVersion, kind, namespace, name text }

func (n naming) texts() []text { return []text{n.apiVersion, n.kind, n.namespace, n.name} }

// identify fills in an item's identity. On a fault it is what could be told, without a name when the fault is in the identity itself.
func (n naming) identify(i *Item, r *rendering) error {
	var faults [4]error
	var apiVersion string
	apiVersion, faults[0] = n.apiVersion.in(r, templating.Identity)
	i.Kind, faults[1] = n.kind.in(r, templating.Identity)
	i.Namespace, faults[2] = n.namespace.in(r, templating.Identity)
	i.Name, faults[3] = n.name.in(r, templating.Identity)
	i.Group, i.Version = splitAPIVersion(apiVersion)
	for _, err := range faults {
		if err != nil {
			i.Name = ""
			return err
		}
	}
	return nil
}

// check returns what is wrong with an identity that could be rendered.
func (n naming) check(i Item) error {
	for _, f := range []struct{ path, value string }{
		{n.apiVersion.path, i.Version}, {n.kind.path, i.Kind}, {n.name.path, i.Name},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is missing", f.path)
		}
	}
	if !segment(i.Name) || !segment(i.Namespace) {
		return fmt.Errorf("%s and %s may not be . or .. and may not contain / or %%", n.name.path, n.namespace.path)
	}
	if !segment(i.Group) || !segment(i.Version) {
		return fmt.Errorf("%s must be a version such as v1 or a group and version such as apps/v1", n.apiVersion.path)
	}
	if len(i.Name) > content.DNS1123SubdomainMaxLength {
		return fmt.Errorf("%s must be no more than %d characters", n.name.path, content.DNS1123SubdomainMaxLength)
	}
	return nil
}

// segment reports whether a name can be part of a path without leading elsewhere.
func segment(name string) bool {
	return name != "." && name != ".." && !strings.ContainsAny(name, "/%")
}

func splitAPIVersion(s string) (group, version string) {
	if before, after, ok := strings.Cut(s, "/"); ok {
		return before, after
	}
	return "", s
}

// failed returns the item with a failure message: what, such as "decode", could not be done and why.
func (i Item) failed(what, why string) Item {
	message := fmt.Sprintf("failed to %s %s %d: %s", what, i.Type, i.Index, why)
	i.Fault = strings.ToValidUTF8(message[:min(len(message), maxMessage)], "")
	return i
}

// maxMessage is the length of a failure message in bytes.
const maxMessage = 1024
