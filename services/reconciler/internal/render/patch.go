package render

import (
	"cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/patch"
	"github.com/syncsets/syncsets/libs/templating"
)

// change is one of a set's patches.
type change struct {
	item   Item
	naming naming
	body   text
}

func newPatch(n int, p v1.Patch, templates bool) change {
	return change{
		item: Item{Index: n, Type: Patch, PatchType: cmp.Or(p.PatchType, v1.PatchStrategic)},
		naming: naming{
			apiVersion: newText("apiVersion", p.APIVersion, templates), kind: newText("kind", p.Kind, templates),
			namespace: newText("namespace", p.Namespace, templates), name: newText("name", p.Name, templates),
		},
		body: newText("", p.Patch, templates),
	}
}

func (c change) same() bool { return same(c.naming.texts()...) && c.body.same() }

func (c change) render(on *rendering) Item {
	i := c.item
	if err := c.naming.identify(&i, on); err != nil {
		return i.failed("render", err.Error())
	}
	if err := c.naming.check(i); err != nil {
		return i.failed("decode", err.Error())
	}
	body, err := c.body.in(on, templating.Value)
	if err != nil && i.Kind == "Secret" {
		return i.failed("render", terse(err))
	}
	if err != nil {
		return i.failed("render", err.Error())
	}
	if i.Object, err = patch.Decode(body, i.PatchType); err != nil {
		i.Object = nil
		return i.failed("decode", err.Error())
	}
	i.Hash = digest(i.hashed())
	return i
}
