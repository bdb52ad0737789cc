// Package decide says what a run does on one cluster: a pure function from what the cluster should have, what the inventory says
// it has, and what was seen of unknown objects, to typed steps. It does no I/O and reads no clock; docs/architecture.md and the
// rules on owning and deleting (behaviour, section 4) are its specification.
package decide

import (
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// Input is everything that a decision depends on. Sets are in run order: syncsets, then selectorsyncsets, each by name.
type Input struct {
	Now       time.Time
	ClusterID string // uid of the cluster document
	Suspended bool   // the cluster
	Paused    bool   // the installation
	FullApply bool   // apply also what did not change
	Verify    bool   // compare what was applied with the target
	AskHealth bool   // ask again about the health of what is in progress
	AtOnce    bool   // an edit or a person's wish: backoff does not hold
	Sets      []Set
	Inventory []inventory.Row
	Removals  map[string]Removal              // by set uid
	Observed  map[inventory.Identity]Observed // of the refs that Unknown returned
	Seen      map[inventory.Identity]Seen     // of the refs that Known returned
	// Refused says, for rows without a Resource, why the target did not tell how their kind is reached. A row that is in neither is of
	// a kind that the target does not have.
	Refused map[inventory.Identity]string
}

// Set is one set that is to be, or was, on the cluster.
type Set struct {
	UID, Resource, Namespace, Name string
	Target                         *int64 // generation to apply; nil: the set must go from here

	TrackedFrom                 *int64 // generation since which the set is on Sync without a break
	Mode, DeletionPolicy        string
	Behavior                    string // v1.Apply, v1.CreateOnly or v1.CreateOrUpdate
	Recreate                    bool   // delete and create again where an immutable field differs
	Adopt, DeleteProtectedKinds bool
	Suspended                   bool

	Items    []Item
	Fault    string // why the set as a whole cannot be read; "" normally
	Previous Previous
}

// Owner returns the value of the owner annotation: "SyncSet ns/name" or "SelectorSyncSet name".
func (s Set) Owner() string { return Owner(s.Resource, s.Namespace, s.Name) }

// Owner returns the value of the owner annotation for a set of a resource.
func Owner(resource, namespace, name string) string {
	if resource == v1.ResourceSelectorSyncSets {
		return v1.KindSelectorSyncSet + " " + name
	}
	return v1.KindSyncSet + " " + namespace + "/" + name
}

// Item is one rendered resource, secret or patch of a set; a set's items are in that order. A patch claims nothing and has no row.
type Item struct {
	Index int // among those of its type
	Type  render.Type
	inventory.Identity
	Version, Resource string
	Object            []byte // JSON with our marks; of a patch, what is sent
	Hash              []byte
	PatchType         string      // of a patch: v1.PatchStrategic, v1.PatchMerge or v1.PatchJSON
	CreateOnly        bool        // whatever the set's behaviour: its name was made from generateName
	Defines           render.Kind // what a CustomResourceDefinition brings
	Fault             string      // why it cannot be rendered, as a complete failure message; it waits for a change of the set
	Passing           bool        // of Fault: it may pass without a change
	Refused           string      // why the target did not tell how the kind is reached; it may pass
	Unmapped          bool        // the target does not know the kind (yet)
	Awaited           bool        // the kind or the namespace comes with an item of this cluster's sets
}

// Previous is what the last run left of a set.
type Previous struct {
	Observed               int64
	Result, Cause, Message string
	Health                 string
	Attempts               int
	RetryAt                *time.Time
	Objects                []v1.ObjectStatus
	Patches                []PatchRecord
}

// PatchRecord is what is remembered of a patch that was sent: for what, its hash, and what the target was then.
type PatchRecord struct {
	inventory.Identity
	Index           int
	Hash            []byte
	UID             string
	ResourceVersion string
	Generation      int64 `json:",omitempty"` // metadata.generation; 0 for kinds without
	Stale           bool  `json:",omitempty"` // to be sent again: the target was written, or the set changed, and it was not sent since
}

// Removal is the permission (open), the hold (held) or the release (released) of what a set no longer wants.
type Removal struct {
	SetUID     string
	Generation int64
	State      string
}

// States of a removal.
const (
	Open     = "open"
	Held     = "held"
	Released = "released"
)

// Ref is an object that must be looked at before deciding.
type Ref struct {
	inventory.Identity
	Version, Resource string
}

// Presence says what was found under an identity.
type Presence int

// What may be found.
const (
	Absent   Presence = iota
	Unmarked          // exists without a mark of any installation
	Ours              // carries this installation's mark
	Foreign           // carries another installation's mark
)

// Observed is what was found under an identity that the inventory does not know for certain.
type Observed struct {
	Presence     Presence
	UID          string
	Installation string // the mark's, when Foreign
	OwnerUID     string // the mark's
	ClientSide   bool   // written by client-side apply, or by us otherwise than by apply: its fields are migrated first
	Fault        string // why the target did not let us look; it may pass
}

// Seen is what a verification found of an object that the inventory knows.
type Seen struct {
	Observed
	ResourceVersion string
	Fields          []byte // digest of our entries in managedFields
	Marked          bool   // carries our label and all our annotations
	Terminating     bool
	Manager         string // the field manager, other than ours, that wrote last besides status; "" when there is none
	// Health and HealthMessage are empty where the target was asked for metadata only.
	Health, HealthMessage string
}

// Action is what a step does.
type Action string

// The actions. Apply to Fail belong to the items of a set; the others to inventory rows nobody wants.
const (
	Apply     Action = "Apply"     // server-side apply
	Create    Action = "Create"    // only if there is none; what is there stays untouched
	Merge     Action = "Merge"     // JSON merge patch of the rendered object
	Patch     Action = "Patch"     // the patch of a set
	Unchanged Action = "Unchanged" // the hash is the inventory's: no request
	Conflict  Action = "Conflict"  // somebody else's object
	Fail      Action = "Fail"      // stops the set's remaining items

	Delete  Action = "Delete"
	Release Action = "Release" // take our marks off, drop the row
	Forget  Action = "Forget"  // drop the row: there is nothing of ours
	Hold    Action = "Hold"    // waits for a confirmation
	Keep    Action = "Keep"    // stays as it is for now; Message says why
)

// Step is one thing to do, to one object.
type Step struct {
	Action Action
	SetUID string
	Item   int
	Type   render.Type
	inventory.Identity
	Version, Resource string

	Object, Hash []byte        // of Apply, Create, Merge and Patch
	Row          inventory.Row // of what is written: as it is written before the request; else: as it is
	Intent       bool          // the row is new, or moves from another set: write it before any request
	Absent       bool          // of Apply, Create and Merge: there was no such object when it was looked for
	Once         bool          // of Create: what is there already is as wanted; else finding something is a failure
	PatchType    string        // of Patch
	Unless       PatchRecord   // of Patch: not sent while the target still is what the record says; zero: sent
	Look         bool          // of Patch: nothing says yet whose the object is: it is looked at first
	Patched      bool          // of Apply and Merge: a patch of the cluster is about the same object, whose fields are left out
	Recreate     bool          // of Apply and Merge: delete and create again where an immutable field differs
	Adopt        bool          // of Apply and Merge with Recreate: also an object that existed before us
	Migrate      bool          // of Apply: take the fields of client-side apply, and of what we created or merged, over first
	Drift        string        // of what is written because it was changed by others: the field manager, "?" when unknown
	Ask          bool          // of Unchanged: ask for the object's health
	Awaited      bool          // a missing kind or namespace is worth waiting for
	Waiting      bool          // of Fail: for a kind that the target does not have
	Retry        bool          // of Conflict, Fail and Keep: a failure whose next attempt may end differently though nothing was edited

	Owners   []string             // of Delete and Release: owner-uid marks that are accepted
	After    []inventory.Identity // of Delete and Release: what must have been applied, or be gone, in this run
	Retained bool                 // of Release: shown, with Message
	Message  string
}

// Disposition says how a run treats a set.
type Disposition string

// The dispositions.
const (
	Act       Disposition = "Act"
	Wait      Disposition = "Wait"      // its backoff has not passed: left exactly as it is
	Suspended Disposition = "Suspended" // nothing is written or deleted for it
	Leave     Disposition = "Leave"     // the set must go from here
)

// SetPlan is what happens for one set: its steps in list order, ending with the first Fail.
type SetPlan struct {
	UID         string
	Disposition Disposition
	Steps       []Step
}

// Plan is the decision. With a Cause (v1.CausePaused, v1.CauseSuspended) nothing at all is done on the cluster.
type Plan struct {
	Cause    string
	Sets     []SetPlan
	Removals []Step // after all applies, in this order
}
