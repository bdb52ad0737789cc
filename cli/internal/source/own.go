package source

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/manifest"
)

// Resource is a resource of the API as commands speak of it.
type Resource struct {
	// Name is that of paths, Kind that of documents, Word what is printed.
	Name, Kind, Word string
	Namespaced       bool
}

// Resources are those that documents may be of.
var Resources = []Resource{
	{v1.ResourceClusters, v1.KindCluster, "cluster", true},
	{v1.ResourceSecrets, v1.KindSecret, "secret", true},
	{v1.ResourceSyncSets, v1.KindSyncSet, "syncset", true},
	{v1.ResourceSelectorSyncSets, v1.KindSelectorSyncSet, "selectorsyncset", false},
}

// OfKind finds a resource by the kind of its documents.
func OfKind(kind string) (Resource, bool) {
	at := slices.IndexFunc(Resources, func(r Resource) bool { return r.Kind == kind })
	if at < 0 {
		return Resource{}, false
	}
	return Resources[at], true
}

// Path is that of one document.
func (r Resource) Path(namespace, name string) string {
	if !r.Namespaced {
		return "/v1/" + r.Name + "/" + name
	}
	return "/v1/" + r.Name + "/" + namespace + "/" + name
}

// Label names a document in what is printed: "syncset/ns/name".
func (r Resource) Label(namespace, name string) string {
	if !r.Namespaced || namespace == "" {
		return r.Word + "/" + name
	}
	return r.Word + "/" + namespace + "/" + name
}

// Own is a document of syncsets.dev/v1, flat.
type Own struct {
	Path            string
	Resource        Resource
	Namespace, Name string
	JSON            []byte
}

// ParseOwn reads a document of syncsets.dev/v1: flat, or with metadata and spec, whose members then are the document's. A status is left
// behind.
func ParseOwn(d manifest.Document) (Own, []errs.Field) {
	resource, known := OfKind(d.Kind)
	if !known {
		return Own{}, []errs.Field{{Path: d.Path + ".kind", Message: "must be Cluster, Secret, SyncSet or SelectorSyncSet"}}
	}
	fields, faults := flatten(d)
	own := Own{Path: d.Path, Resource: resource}
	own.Name, faults = text(d.Path, fields, "name", faults)
	if resource.Namespaced {
		own.Namespace, faults = text(d.Path, fields, "namespace", faults)
	}
	if len(faults) > 0 {
		return own, faults
	}
	encoded, err := json.Marshal(fields)
	if err != nil {
		return own, []errs.Field{{Path: d.Path, Message: "cannot be encoded"}}
	}
	own.JSON = encoded
	return own, nil
}

func flatten(d manifest.Document) (map[string]json.RawMessage, []errs.Field) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(d.JSON, &fields) // manifest.Split has seen that it is an object
	delete(fields, "status")
	var faults []errs.Field
	for _, part := range []string{"metadata", "spec"} {
		text, there := fields[part]
		if !there {
			continue
		}
		delete(fields, part)
		var inner map[string]json.RawMessage
		if json.Unmarshal(text, &inner) != nil {
			faults = append(faults, errs.Field{Path: d.Path + "." + part, Message: "must be an object"})
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(inner)) {
			if _, twice := fields[name]; twice {
				faults = append(faults, errs.Field{Path: d.Path + "." + part + "." + name, Message: "is there twice"})
			}
			fields[name] = inner[name]
		}
	}
	return fields, faults
}

// text reads a member that names the document.
func text(path string, fields map[string]json.RawMessage, name string, faults []errs.Field) (string, []errs.Field) {
	var value string
	if json.Unmarshal(fields[name], &value) != nil || value == "" {
		faults = append(faults, errs.Field{Path: path + "." + name, Message: fmt.Sprintf("is required: a text that is the document's %s", name)})
	}
	return value, faults
}
