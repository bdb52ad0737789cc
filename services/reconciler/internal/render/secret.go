package render

import (
	"fmt"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/templating"
)

// lastApplied is the annotation in which kubectl keeps a whole object, a Secret's values included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// ownPrefix begins the keys of our own labels and annotations.
const ownPrefix = "syncsets.dev/"

// secretCopy is one of a set's secretMappings.
type secretCopy struct {
	item                        Item
	naming                      naming // the target's
	sourceNamespace, sourceName text
	marks                       Marks
}

func newSecretCopy(n int, m v1.SecretMapping, templates bool, marks Marks) secretCopy {
	return secretCopy{
		item: Item{Index: n, Type: Secret},
		naming: naming{
			apiVersion: text{path: "apiVersion", literal: "v1"}, kind: text{path: "kind", literal: "Secret"},
			namespace: newText("targetRef.namespace", m.TargetRef.Namespace, templates),
			name:      newText("targetRef.name", m.TargetRef.Name, templates),
		},
		sourceNamespace: newText("sourceRef.namespace", m.SourceRef.Namespace, templates),
		sourceName:      newText("sourceRef.name", m.SourceRef.Name, templates),
		marks:           marks,
	}
}

func (c secretCopy) render(on *rendering) Item {
	i := c.item
	if err := c.naming.identify(&i, on); err != nil {
		return i.failed("render", err.Error())
	}
	if err := c.naming.check(i); err != nil {
		return i.failed("render", err.Error())
	}
	source, err := c.source(on)
	if err != nil {
		return i.failed("render", err.Error())
	}
	value, err := on.secrets(source)
	switch {
	case errs.Is(err, errs.NotFound):
		return i.failed("read", fmt.Sprintf("secret %q not found", source.Namespace+"/"+source.Name))
	case err != nil:
		i.Refused = i.failed("read", fmt.Sprintf("secret %q: %s", source.Namespace+"/"+source.Name, err)).Fault
		return i
	}
	if err := i.encode(carriedOver(value), values(value), c.marks); err != nil {
		return i.failed("render", "it cannot be encoded")
	}
	return i
}

// source is the stored secret that is copied.
func (c secretCopy) source(on *rendering) (ref v1.NamespacedName, err error) {
	if ref.Namespace, err = c.sourceNamespace.in(on, templating.Value); err == nil {
		ref.Name, err = c.sourceName.in(on, templating.Value)
	}
	return ref, err
}

// carriedOver is the metadata that a copy has from its source.
func carriedOver(v SecretValue) map[string]any {
	return map[string]any{"labels": foreign(v.Labels), "annotations": foreign(v.Annotations)}
}

// foreign returns the entries that are neither ours nor a copy of the values.
func foreign(entries map[string]string) map[string]any {
	carried := make(map[string]any, len(entries))
	for key, value := range entries {
		if key != lastApplied && !strings.HasPrefix(key, ownPrefix) {
			carried[key] = value
		}
	}
	return carried
}

func values(v SecretValue) map[string]any {
	body := map[string]any{}
	if v.Type != "" {
		body["type"] = v.Type
	}
	if len(v.Data) > 0 {
		body["data"] = v.Data
	}
	return body
}
