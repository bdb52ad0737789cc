package devstack

import (
	"context"
	"errors"
)

// errNotOurs is what a server answers that was given by its address: it may be used, never stopped.
var errNotOurs = errors.New("the server was given by its address: it cannot be stopped, paused or restarted from here")

// given is the runner of a server that somebody else runs.
type given struct{}

func (given) start(context.Context) error  { return errNotOurs }
func (given) stop(context.Context) error   { return nil }
func (given) kill(context.Context) error   { return errNotOurs }
func (given) pause(context.Context) error  { return errNotOurs }
func (given) resume(context.Context) error { return errNotOurs }
func (given) remove(context.Context) error { return nil }
