package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

const (
	deleteWait = 5 * time.Second // how long a run waits for an object to be gone
	rereads    = 4               // how often a change between reading and writing starts over
)

// Delete implements work.Target: the marks are read immediately before, and what was read is the precondition.
func (c *Conn) Delete(ctx context.Context, s decide.Step) (work.Deletion, error) {
	for attempt := 1; ; attempt++ {
		f, err := c.find(ctx, refOf(s))
		switch {
		case err != nil:
			return 0, refusal(s, err)
		case !f.there:
			return work.Gone, nil
		case !c.owns(s, f.metadata):
			return work.NotOurs, nil
		case f.terminating():
			return c.awaitGone(ctx, s)
		}
		gone, err := c.deleteOnce(ctx, f)
		switch {
		case isAbsent(err, refOf(s)) || gone:
			return work.Gone, nil
		case err == nil:
			return c.awaitGone(ctx, s)
		case !startsOver(err) || attempt == rereads:
			return 0, refusal(s, err)
		}
	}
}

// startsOver reports whether a write was refused because something changed since the object was read.
func startsOver(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

// owns reports whether the object is the one in the inventory and carries our marks.
func (c *Conn) owns(s decide.Step, m metadata) bool {
	seen := c.marks(m)
	return seen.Presence == decide.Ours && seen.UID == s.Row.ObjectUID && slices.Contains(s.Owners, seen.OwnerUID)
}

// deleteOnce asks for the deletion of exactly what f shows. gone says that the target has nothing to wait for.
func (c *Conn) deleteOnce(ctx context.Context, f found) (gone bool, err error) {
	background, uid := metav1.DeletePropagationBackground, types.UID(f.UID())
	options, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"},
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &f.Metadata.ResourceVersion},
		PropagationPolicy: &background,
	})
	if err != nil {
		return false, err
	}
	var answer struct {
		Kind   string `json:"kind"`
		Status any    `json:"status"`
	}
	r := request{method: http.MethodDelete, path: f.at, accept: acceptJSON, contentType: acceptJSON, body: options}
	_, err = c.send(ctx, r, &answer)
	return err == nil && answer.Kind == "Status" && answer.Status == metav1.StatusSuccess, err
}

// awaitGone looks until the object is gone, or another one has its name, or deleteWait has passed.
func (c *Conn) awaitGone(ctx context.Context, s decide.Step) (work.Deletion, error) {
	deadline := time.Now().Add(deleteWait)
	for pause := 50 * time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, time.Second) {
		f, err := c.find(ctx, refOf(s))
		if err != nil {
			return 0, refusal(s, err)
		}
		if !f.there || f.UID() != s.Row.ObjectUID {
			return work.Gone, nil
		}
		if err := backoff.Sleep(ctx, pause); err != nil {
			return work.Deleting, err
		}
	}
	return work.Deleting, nil
}

// Release implements work.Target.
func (c *Conn) Release(ctx context.Context, s decide.Step) error {
	for attempt := 1; ; attempt++ {
		f, err := c.find(ctx, refOf(s))
		if err != nil {
			return refusal(s, err)
		}
		if !f.there || !c.owns(s, f.metadata) {
			return nil
		}
		err = c.unmark(ctx, f)
		switch {
		case err == nil || isAbsent(err, refOf(s)):
			return nil
		case !startsOver(err) || attempt == rereads:
			return refusal(s, err)
		}
	}
}

// unmark takes our marks off exactly what f shows.
func (c *Conn) unmark(ctx context.Context, f found) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": f.UID(), "resourceVersion": f.Metadata.ResourceVersion,
		"labels": map[string]any{render.LabelManaged: nil},
		"annotations": map[string]any{
			render.AnnotationOwner: nil, render.AnnotationOwnerUID: nil, render.AnnotationInstallation: nil,
		},
	}})
	if err != nil {
		return err
	}
	_, err = c.patch(ctx, f.at, types.MergePatchType, body, &object{})
	return err
}
