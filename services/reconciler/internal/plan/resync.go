package plan

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// retryNightly is how long a nightly resync that failed waits for its next try; following the logs goes on meanwhile.
const retryNightly = time.Hour

// nightly lists both sources once a day, to find what no event told.
func (p *Planner) nightly(ctx context.Context, state postgres.Planner) {
	if state.ResyncedAt == nil || time.Since(*state.ResyncedAt) < p.Resync || time.Now().Before(p.nextTry) {
		return
	}
	p.nextTry = time.Now().Add(min(retryNightly, p.Resync))
	for _, s := range []postgres.Source{postgres.Clusters, postgres.SyncSets} {
		if err := p.resync(ctx, s, state.Cursor(s), "nightly"); err != nil && ctx.Err() == nil {
			p.report(ctx, err)
		}
	}
}

// resync replaces what is known of a source by its list. When the list shows that the source's log went backwards, all writing to
// targets stops until a person has said what is true.
func (p *Planner) resync(ctx context.Context, s postgres.Source, cursor outbox.Revision, why string) error {
	r, err := p.Store.BeginResync(ctx, s)
	if err != nil {
		return err
	}
	defer r.Close(ctx)
	at, err := p.stage(ctx, s, r)
	if err != nil {
		return err
	}
	done, err := r.Apply(ctx, at, cursor)
	switch {
	case errs.Is(err, errs.Precondition):
		return p.stop(ctx, s, cursor, at, err)
	case errs.Is(err, errs.Conflict):
		p.metrics.refused.Add(ctx, 1)
		return err
	case err != nil:
		return err
	}
	p.Log.InfoContext(ctx, "resynced", "source", s, "why", why, "written", done.Written, "dropped", done.Dropped, "revision", at.String())
	p.fanOuts.pending = true
	p.Config.Wake()
	p.Fetch()
	return nil
}

// stage reads the whole list of a source and returns the position that it is consistent with.
func (p *Planner) stage(ctx context.Context, s postgres.Source, r *postgres.Resync) (at outbox.Revision, err error) {
	path, next := "clusters", ""
	if s == postgres.SyncSets {
		path = "sets"
	}
	for {
		list, err := p.client(s).List(ctx, path, next, p.PageSize)
		if err != nil {
			return at, err
		}
		if list.Revision.Epoch == "" {
			return at, errs.New(errs.Unavailable, "the log of %s has not begun yet", s)
		}
		if next == "" {
			at = list.Revision
		} else if list.Revision.Epoch != at.Epoch {
			return at, errs.New(errs.Unavailable, "the log of %s began anew during the list", s)
		}
		page, err := listed(s, list.Items)
		if err != nil {
			return at, err
		}
		if err := r.Stage(ctx, page); err != nil {
			return at, err
		}
		if next = list.Continue; next == "" {
			return at, nil
		}
	}
}

// listed reads the items of a list: clusters are documents, sets come with their resource.
func listed(s postgres.Source, items []json.RawMessage) ([]postgres.Listed, error) {
	page := make([]postgres.Listed, len(items))
	for i, item := range items {
		if s == postgres.Clusters {
			page[i] = postgres.Listed{Resource: v1.ResourceClusters, Document: item}
			continue
		}
		if err := json.Unmarshal(item, &page[i]); err != nil {
			return nil, errs.Wrap(errs.Internal, err, "read the list of sets")
		}
		page[i].Resource = strings.ToLower(page[i].Resource)
	}
	return page, nil
}

// stop pauses all writing to targets.
func (p *Planner) stop(ctx context.Context, s postgres.Source, cursor, at outbox.Revision, cause error) error {
	p.metrics.stopped.Store(true)
	p.Log.ErrorContext(ctx, "writing to targets is paused: a service's database went backwards. Say what is true before it goes on; "+
		"see 'After a restore' in the reconciler's README", "source", s, "known", cursor.String(), "found", at.String(), "error", cause)
	return p.Store.Pause(ctx, cause.Error())
}
