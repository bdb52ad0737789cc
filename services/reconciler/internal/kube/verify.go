package kube

import (
	"context"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Verify implements work.Target.
func (c *Conn) Verify(context.Context, []decide.Ref) (map[inventory.Identity]decide.Seen, error) {
	return nil, nil
}

// Health implements work.Target.
func (c *Conn) Health(context.Context, []decide.Ref) (map[inventory.Identity]work.Health, error) {
	return nil, nil
}
