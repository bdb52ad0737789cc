package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Apply implements work.Target.
func (c *Conn) Apply(ctx context.Context, s decide.Step) (work.Applied, error) {
	write := c.apply
	switch s.Action {
	case decide.Create:
		write = c.create
	case decide.Merge:
		write = c.merge
	case decide.Patch:
		write = c.adjust
	}
	applied, err := write(ctx, s)
	if err != nil {
		return work.Applied{}, c.applyError(s, err)
	}
	return applied, nil
}

// apply sends the object by server-side apply, after what has to happen to its fields before.
func (c *Conn) apply(ctx context.Context, s decide.Step) (work.Applied, error) {
	if s.Migrate {
		if err := c.migrate(ctx, s); err != nil {
			return work.Applied{}, err
		}
	}
	there := s.Object
	if s.Patched {
		var err error
		if there, err = c.withoutPatched(ctx, s); err != nil {
			return work.Applied{}, err
		}
	}
	applied, err := c.applyKnown(ctx, s, there)
	if immutable(err) {
		return c.recreate(ctx, s, err, func() (work.Applied, error) {
			s.Absent = true
			return c.applyOnce(ctx, s, s.Object, "")
		})
	}
	return applied, err
}

// applyKnown sends the object, as there says when it exists. One that the inventory knows is sent with its uid: should it be another one
// by now, it is looked at like an unknown one first, so that nobody else's object is taken over unseen.
func (c *Conn) applyKnown(ctx context.Context, s decide.Step, there []byte) (work.Applied, error) {
	uid := s.Row.ObjectUID
	applied, err := c.applyOnce(ctx, s, there, uid)
	if uid == "" || !isAnother(err) {
		return applied, err
	}
	f, err := c.find(ctx, refOf(s))
	if err != nil {
		return work.Applied{}, err
	}
	if !f.there {
		return c.applyOnce(ctx, s, s.Object, "")
	}
	seen, err := c.marksNotForeign(f.metadata)
	if err != nil {
		return work.Applied{}, err
	}
	applied, err = c.applyOnce(ctx, s, there, seen.UID)
	applied.Existed = seen.Presence == decide.Unmarked
	return applied, err
}

// marksNotForeign reads whose an object is. Another installation's is an error.
func (c *Conn) marksNotForeign(m metadata) (decide.Observed, error) {
	seen := c.marks(m)
	if seen.Presence == decide.Foreign {
		return seen, verdict{fmt.Errorf("it belongs to another installation, %s", seen.Installation)}
	}
	return seen, nil
}

// isAnother recognises the answer to a write with the uid of an object that is not, or no longer, the one by this name: a conflict
// where there is none, an attempt to change metadata.uid where there is another.
func isAnother(err error) bool {
	if apierrors.IsConflict(err) {
		return true
	}
	return apierrors.IsInvalid(err) && slices.ContainsFunc(causes(err), func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// causes returns what a target found wrong, field by field.
func causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

// applyOnce sends a text of the object, with the precondition that it still has uid unless that is empty.
func (c *Conn) applyOnce(ctx context.Context, s decide.Step, text []byte, uid string) (work.Applied, error) {
	o := objectOf(kindOf(s))
	status, err := c.patch(ctx, pathOf(s), types.ApplyPatchType, render.WithUID(text, uid), &o)
	if err != nil {
		return work.Applied{}, err
	}
	applied := o.applied()
	applied.Created = status == http.StatusCreated
	applied.Existed = s.Absent && !applied.Created && o.othersWrote()
	return applied, nil
}

// applyError gives err its words; a kind that is gone is forgotten.
func (c *Conn) applyError(s decide.Step, err error) error {
	err = refusal(s, err)
	var missing *work.Missing
	if errors.As(err, &missing) && missing.What == "kind" {
		c.forgetKind(kindOf(s))
	}
	return err
}
