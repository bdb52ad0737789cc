package kube

import (
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
)

// lastApplied is the annotation in which client-side apply remembers what it sent.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// clientManagers returns the field managers of client-side apply that own fields of the object: kubectl's, and whoever else wrote the
// annotation of client-side apply. Hive's is among those: it names no manager, so that the target gives it the name of its program,
// "manager", which many others have, too. With the annotation, what kubectl create made is client-side apply's as well. What we created
// or merged ourselves counts, too: the target keeps it apart from what we apply.
func (m metadata) clientManagers() sets.Set[string] {
	_, annotated := m.Metadata.Annotations[lastApplied]
	managers := sets.New[string]()
	for _, e := range m.Metadata.ManagedFields {
		if e.Operation != metav1.ManagedFieldsOperationUpdate || e.Subresource != "" || e.Manager == patchManager {
			continue
		}
		if e.Manager == fieldManager || e.Manager == "kubectl-client-side-apply" || annotated && (e.Manager == "kubectl-create" || remembers(e.FieldsV1)) {
			managers.Insert(e.Manager)
		}
	}
	return managers
}

// clientSide reports whether an object's fields are client-side apply's. One older than field managers only has the annotation.
func (m metadata) clientSide() bool { return len(m.clientManagers()) > 0 || m.unmanaged() }

// unmanaged reports whether nobody owns the fields of an object that was written by client-side apply.
func (m metadata) unmanaged() bool {
	_, annotated := m.Metadata.Annotations[lastApplied]
	return annotated && len(m.Metadata.ManagedFields) == 0
}

// remembers reports whether fields hold the annotation of client-side apply.
func remembers(f *metav1.FieldsV1) bool {
	var fields struct {
		Metadata struct {
			Annotations map[string]json.RawMessage `json:"f:annotations"`
		} `json:"f:metadata"`
	}
	if f == nil || json.Unmarshal(f.GetRawBytes(), &fields) != nil {
		return false
	}
	_, ok := fields.Metadata.Annotations["f:"+lastApplied]
	return ok
}

// migrate makes ours what client-side apply owns of the object, so that the apply that follows takes away what the set does not mention,
// now or later. An object whose fields nobody owns is applied once before: its target then gives them an owner.
func (c *Conn) migrate(ctx context.Context, s decide.Step) error {
	for attempt := 1; ; attempt++ {
		f, err := c.find(ctx, refOf(s))
		if err != nil || !f.there {
			return err
		}
		if _, err := c.marksNotForeign(f.metadata); err != nil {
			return err
		}
		if f.unmanaged() && attempt < rereads {
			if _, err := c.applyOnce(ctx, s, s.Object, f.UID()); err != nil {
				return err
			}
			continue
		}
		patch, err := upgrade(f.metadata)
		if err != nil || patch == nil {
			return err
		}
		_, err = c.patch(ctx, f.at, types.JSONPatchType, patch, &object{})
		if err == nil || !startsOver(err) || attempt == rereads {
			return err
		}
	}
}

// upgrade returns the JSON patch of managedFields, with the resourceVersion as its precondition; nil when nothing has to change.
func upgrade(m metadata) ([]byte, error) {
	o := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: m.Metadata.ResourceVersion, ManagedFields: m.Metadata.ManagedFields,
	}}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(&o, m.clientManagers(), fieldManager)
	if err != nil {
		return nil, verdict{err}
	}
	return patch, nil
}
