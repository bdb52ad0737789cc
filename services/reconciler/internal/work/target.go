package work

import (
	"context"
	"fmt"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// Targets opens connections to targets and keeps a bounded number of them.
type Targets interface {
	// Connect returns the connection for this version of the cluster's credential; kubeconfig is called when there is none yet.
	// A kubeconfig that cannot be used is an *Unreachable.
	Connect(ctx context.Context, clusterUID string, version int64, kubeconfig func() (string, error)) (Target, error)
}

// Target is one connection. An error that concerns the connection rather than one object is an *Unreachable; a kind or namespace
// that the target does not have is a *Missing; any other is the target's refusal of that object.
type Target interface {
	// Identify returns the uid of the target's kube-system namespace and its version; it asks once per connection.
	Identify(ctx context.Context) (targetID, version string, err error)
	// Learn adds what the inventory knows about kinds, so that known kinds need no discovery.
	Learn(rows []inventory.Row)
	// Map returns how a kind is reached. An unknown kind is looked up at the target.
	Map(ctx context.Context, k Kind) (Mapping, error)
	// Observe reads the metadata of objects that the inventory does not know.
	Observe(ctx context.Context, refs []decide.Ref) (map[inventory.Identity]decide.Observed, error)
	// Verify reads what the target has of objects that the inventory knows: one paged list per kind of what carries our label, single
	// reads of what no list shows or where lists are forbidden.
	Verify(ctx context.Context, refs []decide.Ref) (map[inventory.Identity]decide.Seen, error)
	// Apply does what a step of action Apply, Create, Merge or Patch says to one object.
	Apply(ctx context.Context, s decide.Step) (Applied, error)
	// Health reads the health of objects. One that cannot be read is Unknown.
	Health(ctx context.Context, refs []decide.Ref) (map[inventory.Identity]Health, error)
	// Delete removes the object of s, after reading its marks, and waits shortly until it is gone. With its kind an object is gone, too;
	// that the target does not know the path alone says nothing.
	Delete(ctx context.Context, s decide.Step) (Deletion, error)
	// Release takes our marks off the object of s. An object that is gone or not ours is none of our business: no error.
	Release(ctx context.Context, s decide.Step) error
}

// Kind names a kind at one API version.
type Kind struct{ Group, Version, Kind string }

// Mapping is how a kind is reached.
type Mapping struct {
	Resource   string
	Namespaced bool
}

// Applied is what the target answered to an apply.
type Applied struct {
	UID, ResourceVersion string
	Generation           int64  // 0 for kinds without
	Created              bool   // it did not exist before this request
	Existed              bool   // it was found to exist without our mark just before
	Terminating          bool   // it is being deleted
	Untouched            bool   // of Create: it was there; of Patch: the target is still as it was left
	Fields               []byte // digest of our entries in managedFields
	Health               Health
}

// Health is what an object's own status says.
type Health = syncstatus.Health

// Deletion is the outcome of a delete.
type Deletion int

// The outcomes. NotOurs: the object carries no mark of ours, or is another one by the same name; it was left alone.
const (
	Gone Deletion = iota
	Deleting
	NotOurs
)

// Unreachable is a failure of the connection; Reason is one of v1's reasons of Reachable.
type Unreachable struct {
	Reason, Message string
	Cause           error
}

// Error implements error.
func (u *Unreachable) Error() string { return fmt.Sprintf("%s: %s", u.Reason, u.Message) }

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Cause }

// Missing is a kind, a namespace or the object of a patch that the target does not have (yet).
type Missing struct {
	What  string // "kind", "namespace" or, of Patch, "object"
	Cause error
}

// Error implements error.
func (m *Missing) Error() string { return m.Cause.Error() }

// Unwrap returns the cause.
func (m *Missing) Unwrap() error { return m.Cause }
