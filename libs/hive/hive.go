// Package hive converts Hive's documents into ours and back: SyncSets and SelectorSyncSets of hive.openshift.io/v1, ClusterDeployments with
// the Secrets that hold their kubeconfigs, and the Secrets that sets copy. It is pure: it reads texts and makes values.
package hive

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/manifest"
	"github.com/syncsets/syncsets/libs/strict"
)

// Options say what becomes of the documents.
type Options struct {
	// Clusters takes ClusterDeployments; without it they are faults that name who takes them.
	Clusters bool
	// Suspended suspends all sets.
	Suspended bool
}

// Item is a document of ours, one of the four, with where it comes from and what is to be known about it.
type Item struct {
	// Path is where it stands in the input, such as "documents[2]".
	Path string
	Kind string

	SyncSet         *v1.SyncSet
	SelectorSyncSet *v1.SelectorSyncSet
	Secret          *v1.Secret
	Cluster         *v1.Cluster

	Warnings []string

	// resources and mappings are the places in the input of each resource and mapping; moved are those of the resources that the mappings
	// after them were made of.
	resources, mappings, moved []int
}

// Meta returns the metadata of the document.
func (i *Item) Meta() *v1.Metadata {
	switch {
	case i.SyncSet != nil:
		return i.SyncSet.Meta()
	case i.SelectorSyncSet != nil:
		return i.SelectorSyncSet.Meta()
	case i.Secret != nil:
		return i.Secret.Meta()
	}
	return i.Cluster.Meta()
}

// Spec returns what the document, if it is a set, wants.
func (i *Item) Spec() (*v1.SetSpec, bool) {
	switch {
	case i.SyncSet != nil:
		return i.SyncSet.Spec(), true
	case i.SelectorSyncSet != nil:
		return i.SelectorSyncSet.Spec(), true
	}
	return nil, false
}

// String names the document: kind, namespace and name.
func (i *Item) String() string { return i.Kind + " " + i.Meta().Key() }

func (i *Item) warn(format string, args ...any) {
	i.Warnings = append(i.Warnings, fmt.Sprintf(format, args...))
}

// Decode reads text, any number of documents in YAML or JSON. Faults are of all documents at once, with paths into the input; what could
// be read is returned beside them.
func Decode(text []byte, o Options) ([]Item, []errs.Field) {
	documents, faults := manifest.Split(text)
	items, more := Convert(documents, o)
	return items, append(faults, more...)
}

// Convert is Decode of documents that are taken apart already.
func Convert(documents []manifest.Document, o Options) ([]Item, []errs.Field) {
	c := converter{options: o, taken: map[string]int{}, kubeconfigs: map[string]*secret{}, wanted: map[string]bool{}}
	c.collectSecrets(documents)
	for _, d := range documents {
		if len(c.faults) >= errs.MaxFields {
			break // no more are shown
		}
		c.document(d)
	}
	c.dropKubeconfigs()
	c.checkSources()
	return c.items, c.faults
}

type converter struct {
	options Options
	items   []Item
	faults  []errs.Field
	// taken is the item of each key.
	taken map[string]int
	// kubeconfigs are all Secrets by key; wanted are those that ClusterDeployments name.
	kubeconfigs map[string]*secret
	wanted      map[string]bool
}

func (c *converter) fault(path, format string, args ...any) {
	c.faults = append(c.faults, errs.Field{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *converter) document(d manifest.Document) {
	switch {
	case d.APIVersion == APIVersion && d.Kind == KindSyncSet:
		c.syncSet(d)
	case d.APIVersion == APIVersion && d.Kind == KindSelectorSyncSet:
		c.selectorSyncSet(d)
	case d.APIVersion == APIVersion && d.Kind == KindClusterDeployment && c.options.Clusters:
		c.cluster(d)
	case d.APIVersion == APIVersion && d.Kind == KindClusterDeployment:
		c.fault(d.Path, "is a ClusterDeployment, which `syncsetctl import` takes together with the Secret that holds its kubeconfig: use it, "+
			"or leave the document out and register the cluster")
	case isSecret(d):
		c.secret(d)
	case strings.HasPrefix(d.APIVersion, "hive.openshift.io/") && d.APIVersion != APIVersion && Takes(APIVersion, d.Kind):
		c.fault(d.Path+".apiVersion", "must be %s: export the document again from a Hive of today", APIVersion)
	case d.Kind == "" || d.APIVersion == "":
		c.fault(d.Path, "must say apiVersion and kind")
	default:
		c.fault(d.Path+".kind", "%s of %s is not taken: SyncSet, SelectorSyncSet, ClusterDeployment and v1 Secret are", d.Kind, d.APIVersion)
	}
}

// Takes reports whether documents of a kind are among those that Decode understands.
func Takes(apiVersion, kind string) bool {
	return apiVersion == APIVersion && (kind == KindSyncSet || kind == KindSelectorSyncSet || kind == KindClusterDeployment) ||
		apiVersion == "v1" && kind == v1.KindSecret
}

func isSecret(d manifest.Document) bool { return d.APIVersion == "v1" && d.Kind == v1.KindSecret }

// read decodes a document strictly into v, as far as it can be, and notes its faults.
func (c *converter) read(d manifest.Document, v any) {
	faults, err := strict.Inspect(d.JSON, reflect.TypeOf(v).Elem())
	var invalid *errs.Error
	if errors.As(err, &invalid) {
		faults = invalid.Fields
	}
	for _, f := range faults {
		f.Path = below(d.Path, f.Path)
		c.faults = append(c.faults, f)
	}
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal(d.JSON, v); err != nil && len(faults) == 0 {
		path := d.Path
		if errors.As(err, &wrongType) {
			path = below(path, wrongType.Field)
		}
		c.fault(path, "has the wrong type")
	}
}

// below joins paths; "body" is the document itself.
func below(path, field string) string {
	if field == "" || field == "body" {
		return path
	}
	return path + "." + field
}

// add keeps an item unless it is there already: the same one again is left out, another one of the name is a fault.
func (c *converter) add(i Item) {
	key := i.String()
	first, twice := c.taken[key]
	switch {
	case !twice || i.Meta().Name == "":
		c.taken[key] = len(c.items)
		c.items = append(c.items, i)
	case same(&c.items[first], &i):
		c.items[first].warn("%s is the same document again", i.Path)
	default:
		c.fault(i.Path, "is another %s than %s: leave one out", key, c.items[first].Path)
	}
}

// same reports whether two items hold equal documents.
func same(a, b *Item) bool {
	return reflect.DeepEqual(canonical(a), canonical(b))
}

// canonical is the document as decoded JSON, in which the order of keys has no meaning.
func canonical(i *Item) any {
	var value any
	text, err := json.Marshal([]any{i.SyncSet, i.SelectorSyncSet, i.Secret, i.Cluster})
	if err == nil {
		value, err = decoded(text)
	}
	if err != nil {
		return i // equal to nothing else
	}
	return value
}
