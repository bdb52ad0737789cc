package demo

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// The marks of an object that some installation of SyncSets manages.
const (
	managed      = "syncsets.dev/managed"
	installation = "syncsets.dev/installation"
)

// deleteLeftovers removes the example's objects that an earlier demo of this installation left on the target. It touches nothing, and names
// the object, when one of them is not this installation's.
func (d *demo) deleteLeftovers(ctx context.Context) error {
	var set v1.SelectorSyncSet
	if err := d.read("selectorsyncset.json", &set); err != nil {
		return err
	}
	objects, err := configMaps(set)
	if err != nil {
		return err
	}
	var left []*corev1.ConfigMap
	for _, o := range objects {
		found, err := d.target.CoreV1().ConfigMaps(o.Metadata.Namespace).Get(ctx, o.Metadata.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for ConfigMap %s/%s on the target: %w", o.Metadata.Namespace, o.Metadata.Name, err)
		}
		if err := d.owns(found); err != nil {
			return err
		}
		left = append(left, found)
	}
	for _, found := range left {
		if err := d.delete(ctx, found); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) owns(found *corev1.ConfigMap) error {
	whose := found.Annotations[installation]
	switch {
	case found.Labels[managed] != "true" || whose == "":
		return fmt.Errorf("ConfigMap %s/%s is on the target and was not made by SyncSets; the demo leaves it alone: delete it, or choose "+
			"another KUBECONFIG", found.Namespace, found.Name)
	case whose != d.Installation:
		return fmt.Errorf("ConfigMap %s/%s on the target belongs to another installation of SyncSets (%s, this is %s); the demo leaves it "+
			"alone: delete it, or choose another KUBECONFIG", found.Namespace, found.Name, whose, d.Installation)
	}
	return nil
}

// delete deletes what was looked at, and nothing that has changed since.
func (d *demo) delete(ctx context.Context, found *corev1.ConfigMap) error {
	err := d.target.CoreV1().ConfigMaps(found.Namespace).Delete(ctx, found.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &found.UID, ResourceVersion: &found.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete ConfigMap %s/%s of an earlier demo: %w", found.Namespace, found.Name, err)
	}
	return nil
}
