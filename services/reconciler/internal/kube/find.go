package kube

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// found is what is known of one object: whether it is there, where it is reached, and what was read of it.
type found struct {
	object
	there bool
	at    string
}

// find reads one object's metadata. Only an answer that names the object, or that its kind is not there in any version, says that it
// is gone.
func (c *Conn) find(ctx context.Context, ref decide.Ref) (found, error) {
	return c.read(ctx, ref, object{})
}

// look is find that reads the object's health, too.
func (c *Conn) look(ctx context.Context, ref decide.Ref) (found, error) {
	return c.read(ctx, ref, objectOf(kindOfRef(ref)))
}

func (c *Conn) read(ctx context.Context, ref decide.Ref, into object) (found, error) {
	if ref.Resource == "" {
		return found{}, doubt("it is not known how the target reaches the kind " + ref.Kind)
	}
	f := found{object: into, at: path(ref.Identity, ref.Version, ref.Resource)}
	err := c.get(ctx, f.at, f.accept(), &f.object)
	if unnamed(err, ref) {
		var other work.Kind
		var mapping work.Mapping
		other, mapping, err = c.locate(ctx, kindOfRef(ref))
		var missing *work.Missing
		if errors.As(err, &missing) {
			return f, nil
		}
		if err != nil {
			return f, err
		}
		f.at = path(ref.Identity, other.Version, mapping.Resource)
		if err = c.get(ctx, f.at, f.accept(), &f.object); unnamed(err, ref) {
			err = doubt("the target does not know the path of the kind " + ref.Kind)
		}
	}
	if isAbsent(err, ref) {
		return f, nil
	}
	f.there = err == nil
	return f, classify(err)
}

// isAbsent reports whether the target answered that it does not have the object.
func isAbsent(err error, ref decide.Ref) bool { return apierrors.IsNotFound(err) && !unnamed(err, ref) }

// unnamed reports whether the target answered that it does not have something other than the object: the path, or what serves it.
func unnamed(err error, ref decide.Ref) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	d := status.Status().Details
	return d == nil || d.Name != ref.Name || (!strings.EqualFold(d.Kind, ref.Resource) && !strings.EqualFold(d.Kind, ref.Kind))
}

// noKind reports whether the target does not have the kind of ref in any version, after its collection was not found.
func (c *Conn) noKind(ctx context.Context, ref decide.Ref) (bool, error) {
	_, _, err := c.locate(ctx, kindOfRef(ref))
	var missing *work.Missing
	switch {
	case errors.As(err, &missing):
		return true, nil
	case err != nil:
		return false, err
	}
	return false, doubt("the target does not know the path of the kind " + ref.Kind)
}

// locate finds out anew how a kind is reached: in its version or, when that is not served any more, in another one of its group.
func (c *Conn) locate(ctx context.Context, k work.Kind) (work.Kind, work.Mapping, error) {
	c.forgetKind(k)
	mapping, err := c.Map(ctx, k)
	var missing *work.Missing
	if !errors.As(err, &missing) || k.Group == "" {
		return k, mapping, err
	}
	var group metav1.APIGroup
	if err := c.get(ctx, "/apis/"+k.Group, acceptJSON, &group); err != nil && !apierrors.IsNotFound(err) {
		return k, mapping, classify(err)
	}
	for _, v := range group.Versions {
		other := work.Kind{Group: k.Group, Version: v.Version, Kind: k.Kind}
		if other == k {
			continue
		}
		if mapping, err := c.Map(ctx, other); !errors.As(err, &missing) {
			return other, mapping, err
		}
	}
	return k, mapping, waitingForKind(k)
}

func refOf(s decide.Step) decide.Ref {
	return decide.Ref{Identity: s.Identity, Version: s.Version, Resource: s.Resource}
}

func kindOfRef(r decide.Ref) work.Kind {
	return work.Kind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}
