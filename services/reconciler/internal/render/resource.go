package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/templating"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// resource is one of a set's resources, without the fields that name it.
type resource struct {
	item      Item
	naming    naming
	generate  text // generateName
	onlyOnce  bool // the set only creates
	templated bool
	metadata  any // compiled
	rest      any // compiled
	marks     Marks
	fault     string // of the text
}

func newResource(n int, document json.RawMessage, spec v1.SetSpec, m Marks) resource {
	r := resource{item: Item{Index: n, Type: Resource}, marks: m, onlyOnce: spec.ApplyBehavior == v1.CreateOnly}
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber() // numbers go out as they came in
	if err := decoder.Decode(&object); err != nil {
		r.fault = err.Error()
		return r
	}
	metadata, _ := object["metadata"].(map[string]any)
	take := func(from map[string]any, path, field string) text {
		literal, _ := from[field].(string)
		delete(from, field)
		return newText(path, literal, spec.EnableResourceTemplates)
	}
	r.naming = naming{
		apiVersion: take(object, "apiVersion", "apiVersion"), kind: take(object, "kind", "kind"),
		namespace: take(metadata, "metadata.namespace", "namespace"), name: take(metadata, "metadata.name", "name"),
	}
	r.generate = take(metadata, "metadata.generateName", "generateName")
	delete(object, "metadata")
	r.metadata, r.rest = metadata, object
	if spec.EnableResourceTemplates {
		var inMetadata, inRest bool
		r.metadata, inMetadata = compile(metadata, "metadata")
		r.rest, inRest = compile(object, "")
		r.templated = inMetadata || inRest || templated(r.naming.texts()...) || r.generate.templated()
	}
	return r
}

// same reports whether the resource is the same on every cluster.
func (r resource) same() bool {
	return r.fault != "" || same(r.naming.texts()...) && r.generate.literal == "" && unchanging(r.metadata) && unchanging(r.rest)
}

func (r resource) render(on *rendering) Item {
	i := r.item
	if r.fault != "" {
		return i.failed("decode", r.fault)
	}
	if err := r.naming.identify(&i, on); err != nil {
		return i.failed("render", r.message(err))
	}
	if err := r.generateName(&i, on); err != nil {
		return i.failed("render", r.message(err))
	}
	what := "decode"
	if r.templated {
		what = "render"
	}
	if err := r.naming.check(i); err != nil {
		return i.failed(what, err.Error())
	}
	metadata, err := fill(r.metadata, on)
	if err != nil {
		return i.failed("render", r.message(err))
	}
	rest, err := fill(r.rest, on)
	if err != nil {
		return i.failed("render", r.message(err))
	}
	if err := i.encode(metadata, rest, r.marks); err != nil {
		return i.failed(what, err.Error())
	}
	return i
}

// message is what is said of a template that fails: of what is, or may be, a Secret nothing that the template works on.
func (r resource) message(err error) string {
	var fault *templating.Fault
	if errors.As(err, &fault) && (r.naming.kind.templated() || r.naming.kind.literal == "Secret") {
		return terse(err)
	}
	return err.Error()
}

var errGenerate = errors.New("metadata.generateName needs applyBehavior CreateOnly: with another one every run would make an object")

// generateName names an object whose text leaves that to us: after the set, the cluster and the item, so that a retry finds it.
func (r resource) generateName(i *Item, on *rendering) error {
	if r.generate.literal == "" || i.Name != "" {
		return nil
	}
	if !r.onlyOnce {
		return errGenerate
	}
	prefix, err := r.generate.in(on, templating.Identity)
	if err != nil {
		return err
	}
	i.Name, i.CreateOnly = prefix+suffix(r.marks.OwnerUID, on.facts.UID, i.Index), true
	return nil
}

// suffixLength is how much of a hash makes names of one prefix differ.
const suffixLength = 10

func suffix(setUID, clusterUID string, index int) string {
	sum := sha256.Sum256([]byte(setUID + "/" + clusterUID + "/" + strconv.Itoa(index)))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:suffixLength]
}

// encode fills in the bytes of an item and their hash.
func (i *Item) encode(metadata, rest any, m Marks) error {
	head, _ := metadata.(map[string]any)
	head, err := mark(head, m)
	if err != nil {
		return err
	}
	head["name"] = i.Name
	if i.Namespace != "" {
		head["namespace"] = i.Namespace
	}
	body := maps.Clone(rest.(map[string]any))
	i.Defines = defines(*i, body)
	body["kind"], body["apiVersion"] = i.Kind, inventory.APIVersion(i.Group, i.Version)
	if i.Object, err = join(head, body); err != nil {
		return err
	}
	i.Hash = digest(i.Object)
	return nil
}
