package work

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

const (
	parallelSets = 4
	missingWait  = 30 * time.Second // how long a run waits for kinds and namespaces that it brings itself
	recheckAfter = 2 * time.Second  // how long a deletion may rest on one look at whether it is still wanted
)

// outcomes gathers what became of each step.
type outcomes struct {
	mu sync.Mutex
	of syncstatus.Outcomes
}

func newOutcomes() outcomes {
	return outcomes{of: syncstatus.Outcomes{
		Objects: map[inventory.Identity]syncstatus.Outcome{}, Patches: map[syncstatus.PatchKey]syncstatus.Outcome{},
	}}
}

func (o *outcomes) set(s decide.Step, outcome syncstatus.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.Action == decide.Patch {
		o.of.Patches[syncstatus.PatchKey{SetUID: s.SetUID, Item: s.Item}] = outcome
		return
	}
	o.of.Objects[s.Identity] = outcome
}

// all is for when nothing is under way any more.
func (o *outcomes) all() syncstatus.Outcomes { return o.of }

// succeeded reports whether every one of ids was applied, or is gone.
func (o *outcomes) succeeded(ids []inventory.Identity) bool {
	for _, id := range ids {
		if done, attempted := o.of.Objects[id]; !attempted || done.Err != "" || done.Deleting {
			return false
		}
	}
	return true
}

// slots let a few sets at once make requests. A set that waits for what another brings has none meanwhile.
type slots struct {
	free   *semaphore.Weighted
	giveUp time.Time
}

// rest waits without a slot. It returns with one, also when ctx has ended: those that have them end as well.
func (s slots) rest(ctx context.Context, again *backoff.Backoff) error {
	s.free.Release(1)
	err := again.Wait(ctx)
	return cmp.Or(s.free.Acquire(context.WithoutCancel(ctx), 1), err)
}

// applyAll starts the sets in run order, a few at once. Only what concerns the whole target is an error.
func (r *run) applyAll(ctx context.Context) error {
	slots := slots{semaphore.NewWeighted(parallelSets), time.Now().Add(missingWait)}
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range r.plan.Sets {
		if !sends(s) {
			continue
		}
		if err := slots.free.Acquire(ctx, 1); err != nil {
			return cmp.Or(group.Wait(), err)
		}
		group.Go(func() error {
			defer slots.free.Release(1)
			return r.applySet(ctx, s, slots)
		})
	}
	return group.Wait()
}

func sends(s decide.SetPlan) bool { return slices.ContainsFunc(s.Steps, writes) }

// writes reports whether a step sends an item to the target.
func writes(s decide.Step) bool {
	return s.Action == decide.Apply || s.Action == decide.Create || s.Action == decide.Merge || s.Action == decide.Patch
}

// applySet applies one set, strictly in list order, until the first failure.
func (r *run) applySet(ctx context.Context, s decide.SetPlan, slots slots) error {
	for _, step := range s.Steps {
		if !writes(step) {
			continue
		}
		outcome, err := r.apply(ctx, step, slots)
		if err != nil {
			return err
		}
		r.outcomes.set(step, outcome)
		if outcome.Err != "" {
			return nil
		}
	}
	return nil
}

// apply does what a step says to one object. A kind, a namespace or a patch's object that this run brings is waited for.
func (r *run) apply(ctx context.Context, s decide.Step, slots slots) (syncstatus.Outcome, error) {
	again := backoff.New(200*time.Millisecond, 2*time.Second)
	for {
		applied, err := r.applyMapped(ctx, &s)
		if err == nil {
			err = unfit(s, applied)
		}
		var missing *Missing
		if errors.As(err, &missing) && missing.What == "kind" {
			s.Resource = "" // it may come back under another
		}
		if missing != nil && s.Awaited && time.Now().Before(slots.giveUp) {
			if err := slots.rest(ctx, again); err != nil {
				return syncstatus.Outcome{}, err
			}
			continue
		}
		if err := whole(ctx, err); err != nil {
			return syncstatus.Outcome{}, err
		}
		if err != nil {
			kind := missing != nil && missing.What == "kind"
			return syncstatus.Outcome{Err: decide.ItemFailure(s, err.Error()), WaitingForKind: kind, Resource: s.Resource}, nil
		}
		return syncstatus.Outcome{
			Resource: s.Resource, UID: applied.UID, ResourceVersion: applied.ResourceVersion, Generation: applied.Generation,
			Created: applied.Created, Existed: applied.Existed, Untouched: applied.Untouched, Fields: applied.Fields, Health: applied.Health,
		}, nil
	}
}

// unfit says why an answer is none to be content with.
func unfit(s decide.Step, a Applied) error {
	switch {
	case a.Terminating && !s.Once:
		return errors.New("it is being deleted")
	case a.Untouched && s.Action == decide.Create && !s.Once:
		return errors.New("somebody else created it meanwhile")
	}
	return nil
}

// askHealth asks for the health of what was in progress.
func (r *run) askHealth(ctx context.Context) (err error) {
	var refs []decide.Ref
	for _, s := range r.plan.Sets {
		for _, step := range s.Steps {
			if step.Ask {
				refs = append(refs, decide.Ref{Identity: step.Identity, Version: step.Version, Resource: cmp.Or(step.Resource, step.Row.Resource)})
			}
		}
	}
	if len(refs) > 0 {
		r.outcomes.of.Health, err = r.target.Health(ctx, refs)
	}
	return err
}

// applyMapped applies one object whose kind may have become known only now; s then tells how it is reached.
func (r *run) applyMapped(ctx context.Context, s *decide.Step) (Applied, error) {
	if s.Resource == "" {
		mapping, err := r.target.Map(ctx, kindOf(*s))
		if err != nil {
			return Applied{}, err
		}
		if mapping.Namespaced != (s.Namespace != "") {
			return Applied{}, scopeError(*s, mapping.Namespaced)
		}
		s.Resource = mapping.Resource
	}
	return r.target.Apply(ctx, *s)
}

func kindOf(s decide.Step) Kind { return Kind{Group: s.Group, Version: s.Version, Kind: s.Kind} }

// whole returns err when it concerns the whole run: the target cannot be reached, or the run was told to end.
func whole(ctx context.Context, err error) error {
	var unreachable *Unreachable
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &unreachable):
		return err
	}
	return nil
}

// removeAll deletes and releases what nobody wants any more, after making sure, again and again, that this is still so.
func (r *run) removeAll(ctx context.Context) error {
	var removals []string
	for _, s := range r.plan.Removals {
		if s.Action == decide.Delete && (len(removals) == 0 || removals[len(removals)-1] != s.SetUID) {
			removals = append(removals, s.SetUID)
		}
	}
	removals, kept := distinct(removals), r.keptUIDs()
	var checked time.Time
	for _, s := range r.plan.Removals {
		if (s.Action != decide.Delete && s.Action != decide.Release) || !r.outcomes.succeeded(s.After) {
			continue
		}
		if kept[s.Row.ObjectUID] {
			r.outcomes.set(s, syncstatus.Outcome{Elsewhere: true})
			continue
		}
		if time.Since(checked) > recheckAfter {
			checked = time.Now()
			if err := r.pool.config.Store.Recheck(ctx, r.claim, r.snap.Want, removals, r.pool.config.Lease); err != nil {
				return err
			}
		}
		if err := r.remove(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// keptUIDs are the uids of objects that stay: one object may be reached, and be in the inventory, under two API groups.
func (r *run) keptUIDs() map[string]bool {
	going := map[inventory.Identity]bool{}
	for _, s := range r.plan.Removals {
		going[s.Identity] = s.Action == decide.Delete || s.Action == decide.Release
	}
	kept := map[string]bool{}
	for _, row := range r.in.Inventory {
		if row.Confirmed() && !going[row.Identity] {
			kept[row.ObjectUID] = true
		}
	}
	for _, o := range r.outcomes.all().Objects {
		if o.UID != "" {
			kept[o.UID] = true
		}
	}
	return kept
}

// remove deletes or releases one object.
func (r *run) remove(ctx context.Context, s decide.Step) error {
	var outcome syncstatus.Outcome
	var err error
	if s.Action == decide.Release {
		err = r.target.Release(ctx, s)
	} else {
		var deletion Deletion
		deletion, err = r.target.Delete(ctx, s)
		outcome.Deleting, outcome.NotOurs = deletion == Deleting, deletion == NotOurs
	}
	if err := whole(ctx, err); err != nil {
		return err
	}
	if err != nil {
		outcome = syncstatus.Outcome{Err: decide.DeleteFailure(s, err.Error())}
	}
	r.outcomes.set(s, outcome)
	return nil
}

func distinct(uids []string) []string {
	seen := map[string]bool{}
	kept := []string{}
	for _, uid := range uids {
		if !seen[uid] {
			seen[uid] = true
			kept = append(kept, uid)
		}
	}
	return kept
}
