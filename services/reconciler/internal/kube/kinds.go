package kube

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Learn implements work.Target.
func (c *Conn) Learn(rows []inventory.Row) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rows {
		if r.Confirmed() && r.Resource != "" {
			c.kinds[work.Kind{Group: r.Group, Version: r.Version, Kind: r.Kind}] = work.Mapping{Resource: r.Resource, Namespaced: r.Namespace != ""}
		}
	}
}

// Map implements work.Target: what was learned, else one look at the group's version. A kind that is not there is asked for anew
// each time.
func (c *Conn) Map(ctx context.Context, k work.Kind) (work.Mapping, error) {
	if m, ok := c.known(k); ok {
		return m, nil
	}
	at := "/apis/" + k.Group + "/" + k.Version
	if k.Group == "" {
		at = "/api/" + k.Version
	}
	var list metav1.APIResourceList
	if err := c.get(ctx, at, acceptJSON, &list); err != nil && !apierrors.IsNotFound(err) {
		return work.Mapping{}, classify(err)
	}
	c.learnResources(k, list.APIResources)
	if m, ok := c.known(k); ok {
		return m, nil
	}
	return work.Mapping{}, waitingForKind(k)
}

func waitingForKind(k work.Kind) error {
	return &work.Missing{What: "kind", Cause: fmt.Errorf("waiting for kind %s in %s", k.Kind, inventory.APIVersion(k.Group, k.Version))}
}

func (c *Conn) known(k work.Kind) (work.Mapping, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.kinds[k]
	return m, ok
}

func (c *Conn) forgetKind(k work.Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kinds, k)
}

func (c *Conn) learnResources(k work.Kind, resources []metav1.APIResource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range resources {
		if !strings.Contains(r.Name, "/") { // no subresources
			c.kinds[work.Kind{Group: k.Group, Version: k.Version, Kind: r.Kind}] = work.Mapping{Resource: r.Name, Namespaced: r.Namespaced}
		}
	}
}
