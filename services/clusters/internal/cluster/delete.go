package cluster

import (
	"context"
	"time"

	"github.com/syncsets/syncsets/libs/api/metadata"
	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

// The options of a write, as query parameters and in its event.
const (
	optionCleanup      = "cleanup"
	optionForce        = "force"
	optionDeletionHold = "deletionHold"
)

// PutParameters and DeleteParameters are the query parameters of the two writes that take any.
var (
	PutParameters    = []string{optionDeletionHold}
	DeleteParameters = []string{optionCleanup, optionForce, optionDeletionHold}
)

// putOptions and deleteOptions are what each option may say.
var (
	putOptions    = map[string]string{optionDeletionHold: "false"}
	deleteOptions = map[string]string{optionCleanup: "true", optionForce: "true", optionDeletionHold: "false"}
)

// cleaner is who removes a cluster once nothing of ours is left on its target.
const cleaner = "reconciler"

// Delete removes a cluster and its kubeconfig at once: what it got stays on the target. With cleanup the document stays, marked, until
// the reconciler has removed what it owns there; force gives such a wait up. It returns errs.NotFound when there is no such cluster,
// errs.Conflict when it is suspended and was to be cleaned up, or is being cleaned up already.
func (s *Service) Delete(ctx context.Context, r request.Delete) (request.Removal[v1.Cluster], error) {
	var none request.Removal[v1.Cluster]
	options, err := deleteOptionsOf(r.Options)
	if err != nil {
		return none, err
	}
	actor := auth.From(ctx).Name
	document, err := s.store.Change(ctx, r.Key, Write{Actor: actor, Options: options}, func(stored *v1.Cluster) (*v1.Cluster, error) {
		if stored == nil {
			return nil, firstOf(r.Options.Check(""), errs.New(errs.NotFound, "there is no cluster %s", r.Key))
		}
		if err := r.Options.Check(stored.ETag()); err != nil {
			return nil, err
		}
		return departing(*stored, options, actor)
	})
	if err != nil || options[optionCleanup] == "" {
		return none, err
	}
	return request.Removal[v1.Cluster]{Pending: &document}, nil
}

func deleteOptionsOf(o request.WriteOptions) (map[string]string, error) {
	options, err := o.Choose(deleteOptions)
	if err != nil {
		return nil, err
	}
	_, clean := options[optionCleanup]
	_, force := options[optionForce]
	_, confirmed := options[optionDeletionHold]
	switch {
	case clean && force:
		err = errs.InvalidFields(errs.Field{Path: "query.force", Message: "cannot go with cleanup=true: it gives a cleanup up"})
	case confirmed && !clean:
		err = errs.InvalidFields(errs.Field{Path: "query.deletionHold", Message: "goes with cleanup=true only: nothing is deleted on the target without"})
	}
	return options, err
}

// departing returns the document that stays of a cluster that is deleted, nil when none does.
func departing(stored v1.Cluster, options map[string]string, actor string) (*v1.Cluster, error) {
	leaving := stored.DeletionRequestedAt != nil
	switch {
	case options[optionForce] != "":
		return nil, nil
	case options[optionCleanup] == "" && leaving:
		return nil, errs.New(errs.Conflict, "cluster %s is being cleaned up: wait, or forget what is left on the target with ?force=true", stored.Key())
	case options[optionCleanup] == "":
		return nil, nil
	case stored.Suspended:
		return nil, errs.New(errs.Conflict, "cluster %s is suspended, so nothing is deleted on it: resume it first, or leave its objects "+
			"by deleting it without cleanup", stored.Key())
	}
	next := stored
	now := time.Now()
	metadata.Continue(&next.Metadata, stored.Metadata, !leaving, actor, now)
	if !leaving {
		at := next.UpdatedAt
		next.DeletionRequestedAt = at
	}
	return &next, nil
}

// Cleaned removes the cluster with this uid, of which nothing is left on its target. It returns errs.NotFound when there is none,
// errs.Conflict when nobody asked for that.
func (s *Service) Cleaned(ctx context.Context, uid string) (struct{}, error) {
	key, err := s.store.KeyOf(ctx, uid)
	if err != nil {
		return struct{}{}, err
	}
	_, err = s.store.Change(ctx, key, Write{Actor: cleaner}, func(stored *v1.Cluster) (*v1.Cluster, error) {
		switch {
		case stored == nil || stored.UID != uid:
			return nil, errs.New(errs.NotFound, "there is no cluster with uid %q", uid)
		case stored.DeletionRequestedAt == nil:
			return nil, errs.New(errs.Conflict, "nobody asked for a cleanup of cluster %s", key)
		}
		return nil, nil
	})
	return struct{}{}, err
}
