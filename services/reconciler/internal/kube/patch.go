package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

var patchTypes = map[string]types.PatchType{
	v1.PatchStrategic: types.StrategicMergePatchType, v1.PatchMerge: types.MergePatchType, v1.PatchJSON: types.JSONPatchType,
}

// adjust sends a set's patch to an object, whoever's it is except another installation's. It has to exist.
func (c *Conn) adjust(ctx context.Context, s decide.Step) (work.Applied, error) {
	if m, ok := c.known(kindOf(s)); ok && m.Namespaced != (s.Namespace != "") {
		if m.Namespaced {
			return work.Applied{}, verdict{fmt.Errorf("the kind %s is namespaced, and the patch names no namespace", s.Kind)}
		}
		return work.Applied{}, verdict{fmt.Errorf("the kind %s has no namespaces, and the patch names one", s.Kind)}
	}
	if s.Look || s.Unless.UID != "" {
		applied, err := c.beforePatch(ctx, s)
		if err != nil || applied.Untouched {
			return applied, err
		}
	}
	applied, err := c.adjustOnce(ctx, s)
	switch {
	case isAbsent(err, refOf(s)):
		err = notFound(s)
	case apierrors.IsUnsupportedMediaType(err):
		err = verdict{fmt.Errorf("the target takes no strategic patches of the kind %s: patchType merge or json is needed", s.Kind)}
	}
	return applied, err
}

// beforePatch looks at the object of a patch: whether it is still as the patch left it, which leaves it untouched, and whose it is.
func (c *Conn) beforePatch(ctx context.Context, s decide.Step) (work.Applied, error) {
	f, err := c.find(ctx, refOf(s))
	if err != nil {
		return work.Applied{}, err
	}
	if !f.there {
		return work.Applied{}, notFound(s)
	}
	if _, err := c.marksNotForeign(f.metadata); err != nil {
		return work.Applied{}, err
	}
	applied := f.applied()
	applied.Untouched = f.asLeft(s.Unless)
	return applied, nil
}

// asLeft reports whether an object still is as a patch left it. Its generation tells, where there is one: the resourceVersion moves with
// every status, too.
func (m metadata) asLeft(r decide.PatchRecord) bool {
	if r.Generation > 0 && m.Metadata.Generation > 0 {
		return m.UID() == r.UID && m.Metadata.Generation == r.Generation
	}
	return m.UID() == r.UID && m.Metadata.ResourceVersion == r.ResourceVersion
}

// notFound says that there is nothing to patch.
func notFound(s decide.Step) error {
	return verdict{&work.Missing{What: "object", Cause: fmt.Errorf("%s not found", s.Identity)}}
}

// adjustOnce sends the patch. A JSON patch is not sent again when it may have arrived: it need not mean the same twice.
func (c *Conn) adjustOnce(ctx context.Context, s decide.Step) (work.Applied, error) {
	patchType, ok := patchTypes[s.PatchType]
	if !ok {
		return work.Applied{}, verdict{fmt.Errorf("the type of patch %q is not known", s.PatchType)}
	}
	var o object
	_, err := c.send(ctx, request{
		method: http.MethodPatch, path: pathOf(s), query: url.Values{"fieldManager": {patchManager}}, accept: acceptMetadata,
		contentType: string(patchType), body: s.Object, once: patchType == types.JSONPatchType,
	}, &o)
	if err != nil {
		return work.Applied{}, err
	}
	applied := o.applied()
	applied.Health = work.Health{}
	return applied, nil
}
