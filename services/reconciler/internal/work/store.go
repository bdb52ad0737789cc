package work

import (
	"context"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// Store is what a pool needs of the reconciler's schema. All writes that name a Claim are refused with errs.Conflict when its
// fence is no longer the row's.
type Store interface {
	// Claim moves a queued row to running under a new fence. It returns errs.NotFound when the row is not queued.
	Claim(ctx context.Context, clusterUID, holder string, lease time.Duration) (Claim, error)
	// Renew moves the lease's end to lease from now.
	Renew(ctx context.Context, c Claim, lease time.Duration) error
	// Load reads everything the run needs in one snapshot. Documents of generations for which known returns true are left out.
	// It returns errs.NotFound when the cluster is gone. With an error the snapshot is empty.
	Load(ctx context.Context, c Claim, known func(setUID string, generation int64) bool) (Snapshot, error)
	// RecordTarget remembers the target's identity. It returns the "namespace/name" of another cluster that already has it, or
	// "" after recording; with shared it never looks.
	RecordTarget(ctx context.Context, c Claim, targetID string, shared bool) (duplicate string, err error)
	// WriteIntents writes rows before the requests that may create or move their objects, unless the cluster's wishes moved on
	// from want: then it writes nothing and returns ErrMovedOn.
	WriteIntents(ctx context.Context, c Claim, want int64, targetID string, rows []inventory.Row) error
	// Recheck is asked before deleting: it returns ErrMovedOn when the cluster's wishes moved on from want, writing is paused, or
	// one of the removals is no longer open, and renews the lease otherwise.
	Recheck(ctx context.Context, c Claim, want int64, removals []string, lease time.Duration) error
	// Settle ends the run: all of s in one transaction. It reports whether the row is due again at once.
	Settle(ctx context.Context, s Settlement) (due bool, err error)
	// Heartbeat records that holder lives with so many slots; Leave takes that back.
	Heartbeat(ctx context.Context, holder string, slots int) error
	Leave(ctx context.Context, holder string) error
}

// Claim is the right to work on one cluster until its lease ends.
type Claim struct {
	ClusterUID string
	Fence      int64
	Class      int  // why it was queued: 0 edit or sync, 1 fan-out, 2 retry, 3 reapply
	Takeover   bool // an earlier holder's lease ended
	FullApply  bool // everything is to be applied, also what did not change
	Attempts   int  // failed connections in a row
	Causes     []string
	QueuedFor  time.Duration
}

// Snapshot is one consistent reading of what a cluster should have and has.
type Snapshot struct {
	Cluster   v1.Cluster
	Now       time.Time // the database's clock, which all times in rows are by
	Paused    bool
	Want      int64
	FullDue   bool // the time of the periodic full apply has come
	VerifyDue bool // the time of the periodic verification has come
	HealthDue bool // the time to ask again for the health of what is in progress has come
	// HealthAttempts is how often in a row that was asked.
	HealthAttempts int
	Credential     Credential
	TargetID       string // remembered identity, "" before the first contact
	Sets           []SetRow
	Inventory      []inventory.Row
	Removals       map[string]decide.Removal    // by set uid
	Secrets        map[v1.NamespacedName]Secret // those that the cluster's sets copy
}

// Secret is a stored secret as sealed; Version is 0 while its values have not arrived, Wanted what the document names.
type Secret struct {
	UID                 string
	Type                string
	Labels, Annotations map[string]string
	Version, Wanted     int64
	KeyID               string
	Sealed              []byte // JSON object of base64 values by key
}

// Credential is the sealed kubeconfig as stored; Version is 0 while there is none, Wanted what the document names.
type Credential struct {
	Version, Wanted int64
	KeyID           string
	Sealed          []byte
}

// SetRow is one set that is to be, or was, on the cluster. Document is nil when it was known; that of a set that must go (Target is
// nil) is the newest one, without its resources.
type SetRow struct {
	UID, Resource, Namespace, Name string
	Target                         *int64
	TrackedFrom                    *int64 // generation since which the set is on Sync; nil when it is not
	Document                       []byte
	Previous                       decide.Previous
}

// Settlement is everything a run leaves behind.
type Settlement struct {
	Claim    Claim
	Want     int64 // what the run's snapshot had seen; 0 when nothing was loaded
	TargetID string
	Abandon  bool // nothing but the row itself is written, and it is due at once
	Contact  *Contact
	Sets     []syncstatus.Set
	Upserts  []inventory.Row
	Drops    []inventory.Identity
	Retired  []decide.Removal // removals with nothing left to do
	LastRun  *v1.RunStatus
	RetryIn  time.Duration // run again then for what failed; 0: nothing failed
	Attempts int           // failed connections in a row
	Full     bool          // everything was applied, so the wish for that is met
	FullIn   time.Duration // when to apply everything again; 0: as it was planned
	VerifyIn time.Duration // when to verify again; 0: as it was planned
	// FullMost and VerifyMost are the longest that what was planned may be away, since intervals may have become shorter; 0: as planned.
	FullMost, VerifyMost time.Duration
	HealthIn             time.Duration // when to ask for health again; 0: not at all
	// HealthAttempts is how often in a row health was asked for.
	HealthAttempts int
	Health         string // of the cluster: the worst of its sets
}

// Contact is what a run learned about the target. A nil Contact leaves what is known as it is.
type Contact struct {
	Reason, Message   string // v1.Reason...
	KubernetesVersion string
	Contacted         bool // the target answered
	AllSucceeded      bool
}
