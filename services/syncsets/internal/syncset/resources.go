package syncset

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/syncsets/syncsets/libs/api/metadata"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/templating"
)

var noResources = []json.RawMessage{}

// ownPrefix begins the keys of the labels and annotations that the system puts on objects.
const ownPrefix = "syncsets.dev/"

// lastApplied is the annotation in which kubectl keeps a whole object, a Secret's values included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// identity is what an object is on a target, whatever version of its API is used.
type identity struct{ group, kind, namespace, name string }

// checkResources returns all faults of the objects of a set, and notes in seen where each one is.
func checkResources(spec *v1.SetSpec, rules Rules, seen map[identity]string) []errs.Field {
	var faults []errs.Field
	for i, text := range spec.Resources {
		if len(faults) >= errs.MaxFields {
			break // no more are shown
		}
		o := object{
			path: fmt.Sprintf("resources[%d]", i), rules: rules, templates: spec.EnableResourceTemplates, behavior: spec.ApplyBehavior,
		}
		if json.Unmarshal(text, &o.fields) != nil || o.fields == nil {
			o.fault("", "must be an object")
			faults = append(faults, o.faults...)
			continue
		}
		id, ok := o.check()
		faults = append(faults, o.faults...)
		if !ok {
			continue
		}
		if first, twice := seen[id]; twice {
			faults = append(faults, errs.Field{Path: o.path, Message: "is the same object as " + first})
			continue
		}
		seen[id] = o.path
	}
	return faults
}

// object is one entry of resources while it is checked.
type object struct {
	path      string
	rules     Rules
	templates bool   // of the set
	behavior  string // of the set
	fields    map[string]any
	faults    []errs.Field
}

// fault notes what is wrong at a path below the object; "" is the object itself.
func (o *object) fault(path, format string, args ...any) {
	if path != "" {
		path = "." + path
	}
	o.faults = append(o.faults, errs.Field{Path: o.path + path, Message: fmt.Sprintf(format, args...)})
}

// open reports whether a text is a template, so that only a cluster tells what it says.
func (o *object) open(text string) bool { return o.templates && templating.Templated(text) }

// check notes all faults. It reports the object's identity when that can be told.
func (o *object) check() (identity, bool) {
	group := o.checkVersion()
	kind := o.checkKind()
	id := identity{group: group, kind: kind}
	known := kind != ""
	if meta, ok := o.metadata(); ok {
		id.namespace, id.name = o.checkKey(meta)
		apiVersion, _ := o.fields["apiVersion"].(string)
		known = known && id.name != "" && !slices.ContainsFunc([]string{apiVersion, kind, id.namespace, id.name}, o.open)
		o.checkServerFields(meta)
		o.checkMarks(meta, "labels")
		o.checkMarks(meta, "annotations")
		o.checkSecretCopy(meta, id)
	} else {
		known = false
	}
	o.checkSecret(id)
	if o.templates {
		o.checkTemplates("", o.fields)
	}
	return id, known
}

// text reads a string field and notes its absence or another type.
func (o *object) text(m map[string]any, path, field string) string {
	value, there := m[field]
	s, ok := value.(string)
	switch {
	case !there || value == nil || ok && s == "":
		o.fault(path, "is required")
	case !ok:
		o.fault(path, "must be a string")
	}
	return s
}

// checkVersion checks apiVersion and returns its group.
func (o *object) checkVersion() string {
	s := o.text(o.fields, "apiVersion", "apiVersion")
	if s == "" || o.open(s) {
		return ""
	}
	group, version, grouped := strings.Cut(s, "/")
	if !grouped {
		group, version = "", s
	}
	if len(validation.IsDNS1035Label(version)) > 0 || grouped && len(validation.IsDNS1123Subdomain(group)) > 0 {
		o.fault("apiVersion", "must be a version such as v1 or a group and version such as apps/v1")
	}
	return group
}

func (o *object) checkKind() string {
	kind := o.text(o.fields, "kind", "kind")
	_, items := o.fields["items"].([]any)
	switch {
	case kind == "" || o.open(kind):
	case len(validation.IsDNS1035Label(strings.ToLower(kind))) > 0:
		o.fault("kind", "must be a kind such as ConfigMap")
	case kind == "List" || items && strings.HasSuffix(kind, "List"):
		o.fault("kind", "lists are not supported: put the items into resources one by one")
	}
	return kind
}

func (o *object) metadata() (map[string]any, bool) {
	meta, ok := o.fields["metadata"].(map[string]any)
	switch {
	case ok:
	case o.fields["metadata"] == nil:
		o.fault("metadata.name", "is required")
	default:
		o.fault("metadata", "must be an object")
	}
	return meta, ok
}

// checkKey checks what names the object on its target.
func (o *object) checkKey(meta map[string]any) (namespace, name string) {
	if set(meta["generateName"]) {
		o.checkGenerateName(meta)
	}
	if set(meta["name"]) || !set(meta["generateName"]) {
		name = o.text(meta, "metadata.name", "name")
		o.checkName("metadata.name", name)
	}
	if !set(meta["namespace"]) {
		return "", name
	}
	namespace = o.text(meta, "metadata.namespace", "namespace")
	o.checkNamespace("metadata.namespace", namespace)
	return namespace, name
}

// checkName checks the name of an object on a target, if there is any.
func (o *object) checkName(path, name string) {
	if name == "" || o.open(name) {
		return
	}
	for _, message := range content.IsPathSegmentName(name) {
		o.fault(path, "%s", message)
	}
	if len(name) > content.DNS1123SubdomainMaxLength {
		o.fault(path, "must be no more than %d characters", content.DNS1123SubdomainMaxLength)
	}
}

// checkNamespace checks the namespace of an object on a target, if there is any.
func (o *object) checkNamespace(path, namespace string) {
	if namespace == "" || o.open(namespace) {
		return
	}
	for _, f := range metadata.CheckNamespace(path, namespace) {
		o.fault(f.Path, "%s", f.Message)
	}
}

// maxGenerateName leaves room for what makes a generated name differ from others.
const maxGenerateName = content.DNS1123SubdomainMaxLength - 10

// checkGenerateName checks the beginning of a name that is made for each cluster.
func (o *object) checkGenerateName(meta map[string]any) {
	const path = "metadata.generateName"
	switch {
	case set(meta["name"]):
		o.fault(path, "may not stand beside name: leave one of them out")
		return
	case o.behavior != v1.CreateOnly:
		o.fault(path, "is supported with applyBehavior CreateOnly only: give the object a name, or choose that")
	}
	prefix := o.text(meta, path, "generateName")
	if prefix == "" || o.open(prefix) {
		return
	}
	for _, message := range content.IsPathSegmentPrefix(prefix) {
		o.fault(path, "%s", message)
	}
	if len(prefix) > maxGenerateName {
		o.fault(path, "must be no more than %d characters", maxGenerateName)
	}
}

// set reports whether a field says anything: not absent, null, empty text, or an empty list or object.
func set(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return true
}

// checkServerFields refuses what only a target's API server can say of an object: applied, each would make the request fail or bind it to
// one object of one target.
func (o *object) checkServerFields(meta map[string]any) {
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "deletionTimestamp"} {
		if set(meta[field]) {
			o.fault("metadata."+field, "is set by the target's API server: leave it out")
		}
	}
}

// checkMarks checks labels or annotations; those of the system itself are refused.
func (o *object) checkMarks(meta map[string]any, field string) {
	entries, ok := meta[field].(map[string]any)
	if !ok {
		if meta[field] != nil {
			o.fault("metadata."+field, "must be an object of strings")
		}
		return
	}
	texts := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		path := "metadata." + field + "[" + key + "]"
		text, isText := entries[key].(string)
		switch {
		case strings.HasPrefix(key, ownPrefix):
			o.fault(path, "keys under %s are set by the system", ownPrefix)
		case !isText:
			o.fault(path, "must be a string")
		case o.open(text) && field == "labels":
		default:
			texts[key] = text
		}
	}
	check := metadata.CheckLabels
	if field == "annotations" {
		check = metadata.CheckAnnotations
	}
	for _, f := range check("metadata."+field, texts) {
		o.fault(f.Path, "%s", f.Message)
	}
}

func (id identity) secret() bool { return id.group == "" && id.kind == "Secret" }

// checkSecret refuses the values of a Secret: whoever may read the set would see them.
func (o *object) checkSecret(id identity) {
	if !id.secret() && !o.open(id.kind) || o.rules.AllowInlineSecrets {
		return // a kind that only a cluster tells may be a Secret there
	}
	for _, field := range []string{"data", "stringData"} {
		if set(o.fields[field]) {
			o.fault(field, "holds values that whoever reads the set would see: use secretMappings instead, or allow it for all sets with "+
				"ALLOW_INLINE_SECRETS=true")
		}
	}
}

// checkSecretCopy refuses the values that kubectl copied into an annotation.
func (o *object) checkSecretCopy(meta map[string]any, id identity) {
	annotations, _ := meta["annotations"].(map[string]any)
	if id.secret() && !o.rules.AllowInlineSecrets && set(annotations[lastApplied]) {
		o.fault("metadata.annotations["+lastApplied+"]", "holds a copy of the Secret's values: leave it out")
	}
}
