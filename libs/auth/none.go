package auth

import (
	"context"
	"net/http"
)

// NewNone returns an Authenticator that takes every caller for the principal "anonymous" and allows everything. Only for listeners
// that nobody but this machine can reach.
func NewNone() Authenticator { return none{} }

type none struct{}

func (none) Authenticate(*http.Request) (Principal, error) { return Principal{Name: "anonymous"}, nil }

func (none) Authorize(context.Context, Principal, Access) error { return nil }
