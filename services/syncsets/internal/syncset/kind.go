package syncset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"

	"github.com/syncsets/syncsets/libs/api/metadata"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/selector"
)

// Kind is what tells the two kinds of set apart.
type Kind[T any, P Pointer[T]] struct {
	Name, Resource string
	Namespaced     bool
	// targets sets the defaults of the fields that say which clusters are meant and returns their faults.
	targets func(P) []errs.Field
}

// SyncSets is the kind of sets that name clusters.
func SyncSets() Kind[v1.SyncSet, *v1.SyncSet] {
	return Kind[v1.SyncSet, *v1.SyncSet]{
		Name: v1.KindSyncSet, Resource: v1.ResourceSyncSets, Namespaced: true, targets: checkRefs,
	}
}

// SelectorSyncSets is the kind of sets that select clusters.
func SelectorSyncSets() Kind[v1.SelectorSyncSet, *v1.SelectorSyncSet] {
	return Kind[v1.SelectorSyncSet, *v1.SelectorSyncSet]{
		Name: v1.KindSelectorSyncSet, Resource: v1.ResourceSelectorSyncSets, targets: checkSelector,
	}
}

// location is the path of a document.
func (k Kind[T, P]) location(m v1.Metadata) string { return "/v1/" + k.Resource + "/" + m.Key() }

func checkRefs(s *v1.SyncSet) []errs.Field {
	if s.ClusterRefs == nil {
		s.ClusterRefs = []v1.ClusterRef{}
	}
	var faults []errs.Field
	seen := map[string]int{}
	for i, ref := range s.ClusterRefs {
		path := fmt.Sprintf("clusterRefs[%d].name", i)
		faults = append(faults, metadata.CheckName(path, ref.Name)...)
		if first, twice := seen[ref.Name]; twice && ref.Name != "" {
			faults = append(faults, errs.Field{Path: path, Message: fmt.Sprintf("names the same cluster as clusterRefs[%d]", first)})
			continue
		}
		seen[ref.Name] = i
	}
	return faults
}

func checkSelector(s *v1.SelectorSyncSet) []errs.Field {
	if s.ClusterSelector == nil {
		return []errs.Field{{Path: "clusterSelector", Message: "is required; {} matches every cluster"}}
	}
	_, err := selector.FromAPI(*s.ClusterSelector)
	return prefixed("clusterSelector.", err)
}

// contentDiffers reports whether two documents want something else, labels and annotations aside.
func contentDiffers[T any, P Pointer[T]](a, b *T) (bool, error) {
	first, err := desired[T, P](*a)
	if err != nil {
		return false, err
	}
	second, err := desired[T, P](*b)
	return !reflect.DeepEqual(first, second), err
}

// desired is a document without its metadata, as decoded JSON: the order of keys and the spelling of numbers, which the store does not
// keep, have no meaning; their values do to the last digit.
func desired[T any, P Pointer[T]](document T) (any, error) {
	*P(&document).Meta() = v1.Metadata{}
	text, err := json.Marshal(&document)
	if err != nil {
		return nil, fmt.Errorf("encode the content of a set: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode the content of a set: %w", err)
	}
	return exact(value), nil
}

// exact spells every number in decoded JSON in one way.
func exact(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			v[key] = exact(member)
		}
	case []any:
		for i, element := range v {
			v[i] = exact(element)
		}
	case json.Number:
		if v != "-0" && !strings.ContainsAny(v.String(), ".eE") {
			return v
		}
		if n, ok := new(big.Rat).SetString(v.String()); ok {
			return json.Number(n.RatString())
		}
	}
	return value
}
