package postgres

import (
	"encoding/json"
	"fmt"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/selector"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// set is a row of the projection with what the planner needs of its document.
type set struct {
	uid, resource, namespace, name string
	generation, resourceVersion    int64
	trackedFrom                    *int64
	deleted                        bool
	absent                         bool // deleted only because a list lacked it
	spec                           spec
}

// spec is the part of a set's document that decides where it goes and what may be deleted.
type spec struct {
	ClusterRefs       []v1.ClusterRef   `json:"clusterRefs"`
	ClusterSelector   *v1.LabelSelector `json:"clusterSelector"`
	Resources         []json.RawMessage `json:"resources"`
	ResourceApplyMode string            `json:"resourceApplyMode"`
	DeletionPolicy    string            `json:"deletionPolicy"`
	DeletionHold      *bool             `json:"deletionHold"`
}

// deletes reports whether the set may delete objects at all.
func (s set) deletes() bool {
	return s.spec.ResourceApplyMode == v1.Sync && s.spec.DeletionPolicy == v1.DeletionPolicyDelete && s.trackedFrom != nil
}

// confirmed reports whether the document confirms all deletions in advance. Absence alone confirms nothing.
func (s set) confirmed() bool {
	return s.spec.DeletionHold != nil && !*s.spec.DeletionHold && !s.absent
}

// cause names why clusters that the set is not to be on lose its objects.
func (s set) cause() string {
	switch {
	case s.absent:
		return causeAbsent
	case s.deleted:
		return causeDeleted
	}
	return causeUnmatched
}

// wants returns the generation that matching clusters should have; nil when the set is gone.
func (s set) wants() *int64 {
	if s.deleted {
		return nil
	}
	return &s.generation
}

// where returns the SQL condition on reconciler.clusters c that selects the set's clusters. Its error is errs.Invalid: then nobody
// knows which clusters are meant, and none may change because of it.
func (s set) where(firstArg int) (string, []any, error) {
	switch {
	case s.deleted:
		return "false", nil, nil
	case s.resource == v1.ResourceSyncSets:
		names := make([]string, len(s.spec.ClusterRefs))
		for i, r := range s.spec.ClusterRefs {
			names[i] = r.Name
		}
		return fmt.Sprintf("NOT c.leaving AND c.namespace = $%d AND c.name = ANY($%d::text[])", firstArg, firstArg+1), []any{s.namespace, names}, nil
	}
	sel, err := s.selector()
	if err != nil {
		return "", nil, err
	}
	where, args := sel.SQL("c.labels", firstArg)
	return "NOT c.leaving AND " + where, args, nil
}

// selector returns the compiled selector of a selectorsyncset. An absent one, which no write can store, is an error, too.
func (s set) selector() (selector.Selector, error) {
	if s.spec.ClusterSelector == nil {
		return selector.Selector{}, fmt.Errorf("%s %s has no clusterSelector", s.resource, s.name)
	}
	return selector.FromAPI(*s.spec.ClusterSelector)
}

// identities are the literal identities in a set's text, as columns for SQL. Opaque says that some resource could not be read, so
// that nobody knows what the set contains: then everything it owns counts as wanted.
type identities struct {
	groups, kinds, namespaces, names []string
	opaque                           bool
}

func (s set) identities() identities {
	var ids identities
	for _, r := range s.spec.Resources {
		id, err := identityOf(r)
		if err != nil {
			ids.opaque = true
			continue
		}
		ids.groups, ids.kinds = append(ids.groups, id.Group), append(ids.kinds, id.Kind)
		ids.namespaces, ids.names = append(ids.namespaces, id.Namespace), append(ids.names, id.Name)
	}
	return ids
}

func identityOf(resource json.RawMessage) (inventory.Identity, error) {
	var o struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(resource, &o); err != nil {
		return inventory.Identity{}, err
	}
	return inventory.Identity{Group: group(o.APIVersion), Kind: o.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name}, nil
}

// group returns the group of "group/version"; the core group's is empty.
func group(apiVersion string) string {
	for i := range apiVersion {
		if apiVersion[i] == '/' {
			return apiVersion[:i]
		}
	}
	return ""
}
