// Package cleanup tells the clusters service which clusters may go: those that were to be cleaned up and on whose targets nothing of ours
// is left. Any number of cleaners may run: the second answer to the same question is that the cluster is gone.
package cleanup

import (
	"context"
	"log/slog"
	"time"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/errs"
)

const (
	batch     = 64
	poll      = 2 * time.Second
	retryMost = time.Minute
)

// Store knows which clusters are clean.
type Store interface {
	CleanClusters(ctx context.Context, limit int) ([]string, error)
}

// Clusters is the clusters service.
type Clusters interface {
	// Cleaned returns errs.NotFound when the cluster is gone already, errs.Conflict when it is not to go.
	Cleaned(ctx context.Context, clusterUID string) error
}

// Cleaner looks for clean clusters now and then.
type Cleaner struct {
	Store    Store
	Clusters Clusters
	Log      *slog.Logger
}

// Run cleans until ctx ends and returns its cause.
func (c Cleaner) Run(ctx context.Context) error {
	retry := backoff.New(poll, retryMost)
	told := map[string]bool{}
	for {
		err := c.step(ctx, told)
		if err == nil {
			retry.Reset()
			err = backoff.Sleep(ctx, poll)
		} else if ctx.Err() == nil {
			c.Log.WarnContext(ctx, "clusters that are clean cannot go yet", "error", err)
			err = retry.Wait(ctx)
		}
		if err != nil {
			return context.Cause(ctx)
		}
	}
}

// step tells of every clean cluster once; told are those whose deletion this process has not seen in the log yet.
func (c Cleaner) step(ctx context.Context, told map[string]bool) error {
	clean, err := c.Store.CleanClusters(ctx, batch)
	if err != nil {
		return err
	}
	still := make(map[string]bool, len(clean))
	for _, uid := range clean {
		still[uid] = true
	}
	for uid := range told {
		if !still[uid] {
			delete(told, uid)
		}
	}
	for _, uid := range clean {
		if told[uid] {
			continue
		}
		err := c.Clusters.Cleaned(ctx, uid)
		if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Conflict) {
			return err
		}
		told[uid] = true
		if err == nil {
			c.Log.InfoContext(ctx, "a cluster has been cleaned up", "cluster_uid", uid)
		}
	}
	return nil
}
