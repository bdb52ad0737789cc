package kube

import (
	"context"
	"errors"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Of kstatus' names those that are given without asking it.
const (
	currentHealth     = string(status.CurrentStatus)
	terminatingHealth = string(status.TerminatingStatus)
	notFoundHealth    = string(status.NotFoundStatus)
	unknownHealth     = string(status.UnknownStatus)
)

// statusless are the kinds, by group, of which nothing but metadata is ever read: they have no status, and are current once they are
// there.
var statusless = map[string][]string{
	"": {"ConfigMap", "Secret", "ServiceAccount", "LimitRange", "Endpoints", "PodTemplate"},
	"admissionregistration.k8s.io": {
		"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding",
		"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
	},
	"apps":                      {"ControllerRevision"},
	"coordination.k8s.io":       {"Lease"},
	"discovery.k8s.io":          {"EndpointSlice"},
	"networking.k8s.io":         {"NetworkPolicy", "IngressClass"},
	"node.k8s.io":               {"RuntimeClass"},
	"rbac.authorization.k8s.io": {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"},
	"scheduling.k8s.io":         {"PriorityClass"},
	"storage.k8s.io":            {"StorageClass", "CSIDriver", "CSINode", "VolumeAttributesClass"},
}

// hasStatus reports whether objects of a kind may say how they are.
func hasStatus(k work.Kind) bool {
	for _, kind := range statusless[k.Group] {
		if kind == k.Kind {
			return false
		}
	}
	return true
}

// healthOf returns what the text of an object says about its health. What is current needs no words.
func healthOf(k work.Kind, body []byte) work.Health {
	var fields map[string]any
	if err := utiljson.Unmarshal(body, &fields); err != nil {
		return work.Health{Status: unknownHealth, Message: decide.Truncate(err.Error())}
	}
	u := unstructured.Unstructured{Object: fields}
	u.SetGroupVersionKind(schema.GroupVersionKind(k)) // the items of a list do not say
	result, err := status.Compute(&u)
	switch {
	case err != nil:
		return work.Health{Status: unknownHealth, Message: decide.Truncate(err.Error())}
	case result.Status == status.CurrentStatus:
		return work.Health{Status: currentHealth}
	}
	return work.Health{Status: result.Status.String(), Message: decide.Truncate(result.Message)}
}

// Health implements work.Target. Kinds without a status are current without being asked.
func (c *Conn) Health(ctx context.Context, refs []decide.Ref) (map[inventory.Identity]work.Health, error) {
	var mu sync.Mutex
	all := make(map[inventory.Identity]work.Health, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.slots))
	for _, ref := range refs {
		group.Go(func() error {
			health, err := c.health(ctx, ref)
			mu.Lock()
			defer mu.Unlock()
			all[ref.Identity] = health
			return err
		})
	}
	return all, group.Wait()
}

// health reads one object's health. Only a target that cannot be reached is an error.
func (c *Conn) health(ctx context.Context, ref decide.Ref) (work.Health, error) {
	if !hasStatus(kindOfRef(ref)) {
		return work.Health{Status: currentHealth}, nil
	}
	f, err := c.look(ctx, ref)
	switch {
	case isWhole(err):
		return work.Health{}, err
	case err != nil:
		return work.Health{Status: unknownHealth, Message: decide.Truncate(err.Error())}, nil
	case !f.there:
		return work.Health{Status: notFoundHealth}, nil
	}
	return f.health, nil
}

// isWhole reports whether an error concerns the connection, or the run, rather than one object.
func isWhole(err error) bool {
	var unreachable *work.Unreachable
	return errors.As(err, &unreachable) || errors.Is(err, context.Canceled)
}
