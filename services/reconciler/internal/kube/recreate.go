package kube

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// unchangeable matches what targets say about a field that cannot be changed: most kinds and rules in definitions, role bindings,
// workloads and storage classes, Services, claims, Pods.
var unchangeable = regexp.MustCompile(`(?i)(field|value|spec) is immutable|is immutable (after|once|when)|cannot change roleRef|` +
	`updates? to .*(are|is) forbidden|may not (be changed|change)|updates may not change`)

// immutable recognises the refusal of a write for nothing but fields that cannot be changed: another fault would remain when the object
// is created anew.
func immutable(err error) bool {
	switch {
	case apierrors.IsForbidden(err): // by an admission webhook
		return strings.Contains(err.Error(), "denied the request") && unchangeable.MatchString(err.Error())
	case !apierrors.IsInvalid(err) || isAnother(err):
		return false
	}
	all := causes(err)
	return len(all) > 0 && !slices.ContainsFunc(all, func(c metav1.StatusCause) bool { return !unchangeable.MatchString(c.Message) })
}

// recreate deletes the object of s, which the target refused to change, and creates it anew, where that is allowed: only an object that
// carries this set's marks and is the one in the inventory.
func (c *Conn) recreate(ctx context.Context, s decide.Step, refused error, create func() (work.Applied, error)) (work.Applied, error) {
	switch {
	case !s.Recreate:
		return work.Applied{}, refused
	case s.Protected():
		return work.Applied{}, hint(s, refused, "objects of this kind are not deleted and created again")
	case s.Row.Existed && !s.Adopt:
		return work.Applied{}, hint(s, refused, "it existed before this set, and is deleted and created again only with adopt: true")
	}
	going := s
	going.Owners = []string{s.SetUID, s.Row.SetUID, s.Row.MarkedUID}
	going.Owners = slices.DeleteFunc(going.Owners, func(uid string) bool { return uid == "" })
	deletion, err := c.Delete(ctx, going)
	switch {
	case err != nil:
		return work.Applied{}, verdict{err}
	case deletion == work.NotOurs:
		return work.Applied{}, hint(s, refused, "it does not carry this set's marks, and is not deleted and created again")
	case deletion == work.Deleting:
		return work.Applied{}, hint(s, refused, "it is being deleted, and is created again when it is gone")
	}
	return create()
}

// hint is a target's refusal with a reason why that remains.
func hint(s decide.Step, refused error, why string) error {
	return verdict{fmt.Errorf("%w; %s", refusal(s, refused), why)}
}
