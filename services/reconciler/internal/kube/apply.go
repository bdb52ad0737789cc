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

// Apply implements work.Target. An object that the inventory knows is sent with its uid: should it be another one by now, it is
// looked at like an unknown one first, so that nobody else's object is taken over unseen.
func (c *Conn) Apply(ctx context.Context, s decide.Step) (work.Applied, error) {
	uid := s.Row.ObjectUID
	applied, err := c.applyOnce(ctx, s, uid)
	if uid == "" || !isAnother(err) {
		return applied, c.applyError(s, err)
	}
	f, err := c.find(ctx, refOf(s))
	if err != nil {
		return work.Applied{}, c.applyError(s, err)
	}
	if !f.there {
		applied, err = c.applyOnce(ctx, s, "")
		return applied, c.applyError(s, err)
	}
	seen := c.marks(f.metadata)
	if seen.Presence == decide.Foreign {
		return work.Applied{}, fmt.Errorf("it belongs to another installation, %s", seen.Installation)
	}
	applied, err = c.applyOnce(ctx, s, seen.UID)
	applied.Existed = seen.Presence == decide.Unmarked
	return applied, c.applyError(s, err)
}

// isAnother recognises the answer to an apply with the uid of an object that is not, or no longer, the one by this name: a conflict
// where there is none, an attempt to change metadata.uid where there is another.
func isAnother(err error) bool {
	var status apierrors.APIStatus
	if apierrors.IsConflict(err) {
		return true
	}
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// applyOnce sends the object, with the precondition that it still has uid unless that is empty.
func (c *Conn) applyOnce(ctx context.Context, s decide.Step, uid string) (work.Applied, error) {
	var m managed
	status, err := c.patch(ctx, pathOf(s), types.ApplyPatchType, render.WithUID(s.Object, uid), &m)
	if err != nil {
		return work.Applied{}, err
	}
	return work.Applied{
		UID: m.Metadata.UID, ResourceVersion: m.Metadata.ResourceVersion, Created: status == http.StatusCreated,
		Existed: s.Absent && status != http.StatusCreated && m.othersWrote(), Terminating: m.Metadata.DeletionTimestamp != nil,
	}, nil
}

// managed is what is read of the answer to an apply.
type managed struct {
	Metadata struct {
		UID               string  `json:"uid"`
		ResourceVersion   string  `json:"resourceVersion"`
		DeletionTimestamp *string `json:"deletionTimestamp"`
		ManagedFields     []struct {
			Manager string `json:"manager"`
		} `json:"managedFields"`
	} `json:"metadata"`
}

// othersWrote reports whether anybody but us owns fields of an object. One that came to be between looking for it and applying it is
// our own then, from a run whose lease had ended, unless somebody else's hand shows.
func (m managed) othersWrote() bool {
	for _, e := range m.Metadata.ManagedFields {
		if e.Manager != fieldManager {
			return true
		}
	}
	return false
}

// applyError gives err its words; a kind that is gone is forgotten.
func (c *Conn) applyError(s decide.Step, err error) error {
	if err == nil {
		return nil
	}
	err = refusal(s, err)
	var missing *work.Missing
	if errors.As(err, &missing) && missing.What == "kind" {
		c.forgetKind(kindOf(s))
	}
	return err
}
