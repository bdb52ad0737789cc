package postgres

import (
	"fmt"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/selector"
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

// spec is a set's document without its metadata.
type spec struct {
	ClusterRefs     []v1.ClusterRef   `json:"clusterRefs"`
	ClusterSelector *v1.LabelSelector `json:"clusterSelector"`
	v1.SetSpec
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

// group returns the group of "group/version"; the core group's is empty.
func group(apiVersion string) string {
	before, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		return ""
	}
	return before
}
